"""Email search: answer a question from the emails in one inbox, citing sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from environment.base import Environment, Reward
from environment.email_search.answering import DEPLOYABLE
from environment.email_search.config import EmailDataConfig, EmailSearchConfig
from environment.email_search.email_db import EmailDatabase
from environment.email_search.models import EmailOutcome, EmailQuestion, EmailScenario
from environment.email_search.rewards import METRICS, VERDICTS, email_reward
from environment.email_search.scenarios import read_scenarios
from environment.email_search.stages import stages
from environment.email_search.tools import EmailSession, tool_schemas
from environment.package import EnvironmentPackage

SYSTEM_PROMPT = (
    "You answer questions about the mails in one person's inbox. Search with the keywords of the "
    "question, read the mails that look right, then return a short answer with the ids of the "
    "mails it stands in. If the mails do not say, the answer is: I don't know."
)


class EmailSearchEnvironment(Environment[EmailScenario, EmailOutcome]):
    """Questions over one email database."""

    name = "email_search"
    system_prompt = SYSTEM_PROMPT
    verdicts, metrics = VERDICTS, METRICS

    def __init__(
        self,
        database: EmailDatabase,
        scenarios: Sequence[EmailScenario],
        config: EmailSearchConfig,
        max_turns: int,
    ) -> None:
        self.database = database
        self._scenarios = list(scenarios)
        self._config = config
        self._max_turns = max_turns
        self.tool_schemas = tool_schemas()

    def session(self, scenario: EmailScenario) -> EmailSession:
        return self.ask(scenario)

    def ask(self, question: EmailQuestion) -> EmailSession:
        """A session for a question without a gold answer."""
        return EmailSession(question, self.database, self._config)

    def reward(self, scenario: EmailScenario, outcome: EmailOutcome) -> Reward:
        return email_reward(scenario, outcome, self._max_turns)

    def close(self) -> None:
        self.database.close()


def open_environment(
    artifacts: dict[str, Path], config: EmailSearchConfig, max_turns: int
) -> EmailSearchEnvironment:
    """Open the environment from the data pipeline's ``database`` and ``scenarios`` artifacts."""
    return EmailSearchEnvironment(
        EmailDatabase(artifacts["database"]),
        read_scenarios(artifacts["scenarios"]),
        config,
        max_turns,
    )


PACKAGE = EnvironmentPackage(
    config=EmailSearchConfig,
    data=EmailDataConfig,
    open=open_environment,
    artifacts=("database", "scenarios"),
    stages=stages,
    deployable=DEPLOYABLE,
    describe=lambda data, config: {"source": data.source},
)
