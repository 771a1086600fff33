"""The model's page: its versions, where each came from, how well it did and where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from training.report import page as html


class Version(BaseModel):
    """One version of a model and the metadata that training and evaluation gave it."""

    number: int
    stage: str | None
    created: str
    metadata: Mapping[str, Any]


def model_card(name: str, versions: Sequence[Version]) -> str:
    """
    Args:
        versions: newest first; at least one.
    """
    newest = versions[0]
    serving = next((str(v.number) for v in versions if v.stage == "production"), "none")
    return html.page(
        f"Model {name}",
        "Every training run makes a version; an evaluation decides whether it goes to production. "
        "Success is sampled success on held-out scenarios.",
        [
            html.tiles({"in production": serving, "newest": str(newest.number)}),
            html.section(
                "Versions",
                html.table(
                    ("version", "stage", "created", "run", "step", "base's success", "its own",
                     "gain", "decision"),
                    [_row(version) for version in versions],
                ),
            ),
            html.section(
                f"Where version {newest.number} comes from",
                html.table(
                    ("", ""),
                    [
                        ["base model", newest.metadata.get("base_model", "")],
                        ["digest of its weights", newest.metadata.get("base_fingerprint") or ""],
                        *([f"digest of {k}", v] for k, v in newest.metadata.get("data", {}).items()),
                    ],
                ),
            ),
        ],
    )  # fmt: skip


def _row(version: Version) -> list[object]:
    found = version.metadata
    evaluated = found.get("evaluation", {})
    gain = found.get("gain_over_base")
    return [
        version.number,
        version.stage or "",
        version.created,
        found.get("run", ""),
        found.get("step", ""),
        *(evaluated.get(label, {}).get("sampled", "") for label in ("base", "trained")),
        f"{gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})" if gain else "",
        found.get("decision", "not evaluated"),
    ]
