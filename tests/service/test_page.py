"""The page at ``/`` in a real browser, before a service in a process. Most jobs' states and events are
written into its database, as their workers would; one job trains."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from service.folders import Folders
from service.states import Status
from service.store import Job, Store
from tests.browser import OVERFLOWS, PALE, chromium, watch

from .actor import acting
from .conftest import ROOT, Service, StartService, occupied, request, until

TOKEN = "correct-horse-battery"
EVIL = "<script>alert('x')</script><img src=https://evil.example/x onerror=alert(1)> & \"q\""
LONG = "W" * 64
FILES = ROOT / "service" / "page"
RESULT = {
    "step": 3,
    "stopped_by": "max_steps",
    "spent": {"minutes": 1.25, "gpu_hours": 0.0, "cost_usd": 0.5},
    "adapter": "runs/r/training/adapter",
    "report": "runs/r/training/report.html",
}
MANY = 1_000
PATIENCE_MS = 20_000

Visit = Callable[..., Page]
Running = Callable[..., Job]


def step(n: int, of: int = 3, **changes: Any) -> dict[str, Any]:
    """The event of step ``n``: of 8 trajectories 6 were trained on."""
    groups = {"submitted": 2, "trainable": 1, "trajectories": 8, "trained": 6}
    groups |= {"dropped": {"zero_variance": 2}, "first_error": ""}
    metrics = {"train/reward": n / 10, "train/success": n / 20}
    return {"step": n, "num_steps": of, "metrics": metrics, "groups": groups | changes}


def submit(store: Store, name: str, **changes: Any) -> Job:
    train_request = request(name, **{"num_steps": 3} | changes)
    plain = train_request.model_dump(mode="json", exclude={"idempotency_key"})
    return store.submit(plain, {}, None, 10 * MANY)[0]


def hurry(store: Store) -> None:
    """Write much without waiting for the disk each time."""
    store._db.execute("PRAGMA synchronous=OFF")


def train(store: Store, job: Job, steps: int) -> None:
    for n in range(1, steps + 1):
        store.add_step(job.id, n, step(n, job.num_steps))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(PATIENCE_MS) as browser:
        yield browser


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Its one place is taken, so what is queued waits; a job of each other state is there."""
    folder = tmp_path_factory.mktemp("page")
    store = Store(Folders(folder / "data").database)
    for name, steps, end in (
        ("good", 3, {"status": Status.SUCCEEDED, "result": RESULT}),
        ("bad", 1, {"status": Status.FAILED, "error": "the judge refuses the key"}),
        ("ended", 2, {"status": Status.CANCELLED}),
    ):
        job = store.begin(submit(store, name, project="done").id)
        train(store, job, steps)
        store.end(job.id, **end)
    store.close()
    with occupied(folder):
        service = Service(folder, {}).start()
        yield service
        service.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """It wants a token, and few requests."""
    settings = {"requests_per_minute": 150}
    service = Service(tmp_path_factory.mktemp("guarded"), settings, {"ART_SERVICE_TOKEN": TOKEN})
    yield service.start()
    service.close()


@pytest.fixture
def store(service: Service) -> Iterator[Store]:
    store = service.store()
    yield store
    store.close()


@pytest.fixture
def running(service: Service, store: Store) -> Iterator[Running]:
    """Jobs that run, by actors; deleted when the test is over."""
    begun: list[Job] = []
    with ExitStack() as actors:

        def run(name: str, **changes: Any) -> Job:
            job = submit(store, name, **changes)
            actors.enter_context(acting(service.folders.lock(job.run)))
            begun.append(store.begin(job.id))
            return begun[-1]

        yield run
        for job in begun:
            store.delete(job.project, job.model_name)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens the page in a browser that has seen nothing before. Whatever goes wrong in it without
    being seen fails the test."""
    trouble: list[str] = []
    with ExitStack() as opened:

        def visit(service: Service, place: str = "", **settings: Any) -> Page:
            context = browser.new_context(**{"reduced_motion": "reduce"} | settings)
            opened.callback(context.close)
            page = context.new_page()
            watch(page, trouble, "401|404|409|503")
            page.goto(f"{service.url}/{place}")
            return page

        yield visit
    assert trouble == []


def row(page: Page, project: str, name: str) -> Any:
    return page.locator(f'#list a[href="#/{project}/{name}"]')


def points(page: Page, line: str = "reward") -> int:
    drawn = page.locator(f"polyline.{line}")
    return len(drawn.get_attribute("points").split()) if drawn.count() else 0


def expect_points(page: Page, count: int) -> None:
    until(lambda: points(page) >= count)
    assert points(page) == count


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.id || document.activeElement.textContent")


def test_models_are_listed_with_their_states_those_in_training_first(
    service: Service, store: Store, visit: Visit
) -> None:
    submit(store, "waits")
    page = visit(service)
    expect(page.locator("#list li")).to_have_count(5)
    names = page.locator("#list .name").all_inner_texts()
    assert names == ["busy", "waits", "ended", "bad", "good"]
    states = page.locator("#list .state").all_inner_texts()
    assert states == ["running", "queued", "cancelled", "failed", "succeeded"]
    expect(row(page, "default", "waits")).to_contain_text("number 1 in the queue")
    expect(row(page, "default", "waits")).to_contain_text(re.compile("requested \\d+ \\w+"))
    expect(row(page, "done", "ended")).to_contain_text("step 2 of 3")
    expect(row(page, "done", "ended")).to_contain_text(re.compile("email_search · started \\d+ "))
    bar = row(page, "done", "ended").locator("progress")
    assert bar.evaluate("(bar) => [bar.value, bar.max]") == [2, 3]
    health = re.compile(r"Version \S+ · embedded( on cpu)? · 1 running, 1 queued")
    expect(page.locator("#health")).to_have_text(health)
    expect(page.locator("#pages")).to_be_hidden()
    store.delete("default", "waits")
    expect(row(page, "default", "waits")).to_have_count(0)
    expect(page.locator("#health")).to_contain_text("0 queued")


def test_a_curve_grows_with_the_job_until_its_result_is_there(
    service: Service, store: Store, visit: Visit, running: Running
) -> None:
    job = running("lively")
    page = visit(service, "#/default/lively")
    expect(page.locator("#state")).to_have_text("running")
    expect(page.locator("#curve")).to_be_hidden()
    for n in (1, 2, 3):
        store.add_step(job.id, n, step(n))
        expect(page.locator("#steps")).to_have_text(f"step {n} of 3")
        expect_points(page, n)
        assert points(page, "success") == n
    expect(page.locator("#reading")).to_have_text("Step 3 · reward 0.3 · success 15%")
    label = page.locator("#plot svg").get_attribute("aria-label")
    assert label == "Mean reward: 0.1 at step 1, 0.3 at step 3"
    page.locator("#plot").press("ArrowLeft")
    expect(page.locator("#reading")).to_have_text("Step 2 · reward 0.2 · success 10%")
    expect(page.locator("#groups tbody tr")).to_have_text(
        [
            "Groups26",
            "Groups with something to learn13",
            "Trajectories824",
            "Trained on618",
            "Dropped: zero variance26",
        ]
    )
    store.add_event(job.id, "warning", {"message": "a rollout was slow"})
    expect(page.locator("#notices .warns")).to_have_text(re.compile("a rollout was slow$"))
    store.resume(job.id, "its worker was gone", 1)
    expect(page.locator("#notices")).to_contain_text(
        "Worker 2 took over after 3 steps: its worker was gone"
    )
    expect(page.locator("#cancel")).to_be_visible()
    store.end(job.id, Status.SUCCEEDED, result=RESULT)
    expect(page.locator("#state")).to_have_text("succeeded")
    expect(page.locator("#result dd")).to_have_text(
        ["max steps", "1.25 minutes, 0.5 US dollars", RESULT["adapter"], RESULT["report"]]
    )
    expect(page.locator("#cancel")).to_be_hidden()
    expect(page.locator("#facts")).to_contain_text("ended")
    expect(page.get_by_role("status")).to_have_text("default / lively: succeeded")


def test_a_job_that_trains_is_followed_to_its_end(
    start_service: StartService, visit: Visit
) -> None:
    service = start_service()
    page = visit(service)
    expect(page.locator("#none")).to_be_visible()
    service.client.train(request("pocket"))
    row(page, "default", "pocket").click()
    expect(page.locator("#state")).to_have_text("succeeded", timeout=120_000)
    expect_points(page, 2)
    last_step = service.client.status("default", "pocket").last_step
    assert last_step is not None
    reward = last_step.metrics["train/reward"]
    assert reward is not None
    reading = page.locator("#reading").inner_text().replace("\u2212", "-")
    shown = re.fullmatch(r"Step 2 · reward (\S+) · success \S+", reading)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(reward, rel=0.01)
    expect(page.locator("#notices li").first).to_contain_text("Queued")
    expect(page.locator("#result")).to_contain_text("max steps")


def test_a_service_that_is_killed_is_missed_and_comes_back(
    start_service: StartService, tmp_path: Path, visit: Visit
) -> None:
    with occupied(tmp_path) as job:
        service = start_service()
        store = service.store()
        train(store, store.job(job), 2)
        page = visit(service, "#/default/busy")
        expect_points(page, 2)
        service.kill()
        expect(page.locator("#health")).to_contain_text("The service cannot be reached.")
        expect(page.locator("#lost")).to_be_visible()
        expect(page.get_by_role("status")).to_have_text("The service cannot be reached")
        assert points(page) == 2
        store.add_step(job, 3, step(3, 50))  # its worker goes on
        store.add_event(job, "warning", {"message": "said meanwhile"})
        service.start()
        expect_points(page, 3)
        expect(page.locator("#lost")).to_be_hidden()
        expect(page.locator("#health")).to_contain_text("1 running")
        store.add_step(job, 4, step(4, 50))
        expect_points(page, 4)
        expect(page.locator("#notices li span")).to_have_text(
            ["Queued", "Running", "said meanwhile"]
        )
        store.close()


def test_cancelling_asks_first_and_takes_no_for_an_answer(
    service: Service, store: Store, visit: Visit, running: Running
) -> None:
    job = running("doubtful")
    train(store, job, 2)
    page = visit(service, "#/default/doubtful")
    expect(page.locator("#steps")).to_have_text("step 2 of 3")
    dialog = page.get_by_role("dialog")
    for way in ("Escape", "Enter"):
        page.locator("#cancel").press("Enter")
        expect(dialog).to_have_accessible_name("Cancel the training of default / doubtful?")
        expect(dialog).to_contain_text("What is trained by then is kept")
        expect(page.get_by_role("button", name="Let it train")).to_be_focused()
        page.keyboard.press(way)
        expect(dialog).to_be_hidden()
        expect(page.locator("#cancel")).to_be_focused()
        assert not store.job(job.id).cancelling
    page.locator("#cancel").click()
    dialog.get_by_role("button", name="Cancel training").click()
    expect(page.locator("#state")).to_have_text("being cancelled")
    expect(page.locator("#cancel")).to_be_hidden()
    assert store.job(job.id).cancelling
    store.end(job.id, Status.CANCELLED)
    expect(page.locator("#state")).to_have_text("cancelled")
    expect(row(page, "default", "doubtful")).to_contain_text("cancelled")


def test_a_job_that_waits_is_cancelled_at_once(
    service: Service, store: Store, visit: Visit
) -> None:
    submit(store, "patient")
    page = visit(service, "#/default/patient")
    expect(page.locator("#steps")).to_have_text("number 1 in the queue")
    page.locator("#cancel").click()
    expect(page.get_by_role("dialog")).to_contain_text("It gives up its place in the queue.")
    page.get_by_role("dialog").get_by_role("button", name="Cancel training").click()
    expect(page.locator("#state")).to_have_text("cancelled")
    store.delete("default", "patient")


def test_what_the_service_refuses_is_said_in_its_words(
    service: Service, store: Store, visit: Visit, running: Running
) -> None:
    job = running("quick")
    page = visit(service, "#/default/quick")
    page.locator("#cancel").click()
    store.end(job.id, Status.SUCCEEDED, result=RESULT)
    expect(page.locator("#state")).to_have_text("succeeded")
    page.get_by_role("dialog").get_by_role("button", name="Cancel training").click()
    expect(page.get_by_role("alert")).to_have_text(f"Job {job.id} has ended: succeeded.")


def test_deleting_names_what_is_lost_and_leaves_nothing(
    service: Service, store: Store, visit: Visit, running: Running
) -> None:
    job = running("doomed", project="p")
    train(store, job, 2)
    page = visit(service, "#/p/doomed")
    expect(page.locator("#steps")).to_have_text("step 2 of 3")
    dialog = page.get_by_role("dialog")
    page.locator("#delete").click()
    expect(dialog).to_have_accessible_name("Delete p / doomed?")
    expect(dialog).to_have_accessible_description(
        "This permanently deletes 1 job with all events, the checkpoints and the adapter after 2 steps. "
        "The training ends at once."
    )
    page.get_by_role("button", name="Keep it").click()
    expect(dialog).to_be_hidden()
    assert store.newest("p", "doomed")
    page.locator("#delete").click()
    dialog.get_by_role("button", name="Delete model").click()
    expect(page.locator("#model")).to_be_hidden()
    expect(row(page, "p", "doomed")).to_have_count(0)
    assert focused(page) == "models-title"
    assert store.newest("p", "doomed") is None
    assert page.url == f"{service.url}/#/"


def test_a_model_that_others_delete_is_gone(
    service: Service, store: Store, visit: Visit, running: Running
) -> None:
    running("theirs")
    page = visit(service, "#/default/theirs")
    page.locator("#delete").click()
    service.client.delete("default", "theirs")
    expect(page.locator("#gone")).to_have_text("This model was deleted.")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#known")).to_be_hidden()
    job = running("theirs")  # another one of that name
    train(store, job, 1)
    expect_points(page, 1)


def test_a_model_deleted_while_the_page_opens_it_is_gone(
    service: Service, visit: Visit, running: Running
) -> None:
    """Its details came, and its events do not."""
    running("vanishing")
    page = visit(service, "#/")
    no_job = {"detail": "there is no job 5739bf72eb074e4ebf004be886e38d3a"}
    page.route("**/stream*", lambda route: route.fulfill(status=404, json=no_job))
    page.goto(f"{service.url}/#/default/vanishing")
    expect(page.locator("#gone")).to_have_text("This model was deleted.")


def test_an_earlier_job_has_its_own_curve_and_a_new_one_is_followed(
    service: Service, store: Store, visit: Visit, running: Running
) -> None:
    first = running("twice", num_steps=2)
    train(store, first, 2)
    store.end(first.id, Status.SUCCEEDED, result=RESULT)
    page = visit(service, "#/default/twice")
    expect(page.locator("#state")).to_have_text("succeeded")
    second = submit(store, "twice", num_steps=5)
    expect(page.locator("#state")).to_have_text("queued")
    store.begin(second.id)
    for n in (3, 4, 5):
        store.add_step(second.id, n, step(n, 5))
    expect_points(page, 3)
    expect(page.locator("#jobs li")).to_have_text(
        [re.compile("^Job 2 · "), re.compile("^Job 1 · succeeded · step 2 of 2")]
    )
    page.get_by_role("link", name="Job 1").click()
    expect(page.locator("#steps")).to_have_text("step 2 of 2")
    until(lambda: points(page) < 3)  # the other job's curve has gone
    expect_points(page, 2)
    assert page.url.endswith(f"#/default/twice/{first.id}")
    page.go_back()
    expect(page.locator("#steps")).to_have_text("step 5 of 5")


@pytest.mark.parametrize("place", ["#/default/none", "#/default/busy/" + 32 * "0"])
def test_an_address_of_nothing_says_so(service: Service, visit: Visit, place: str) -> None:
    page = visit(service, place)
    expect(page.locator("#gone")).to_have_text(re.compile("There is no model|has no such job"))
    expect(page.locator("#list li")).not_to_have_count(0)


@pytest.mark.parametrize(
    "place", ["#/../models", "#/a", "#/a/b/c", "#/%2e%2e/x", "#/a/b/c/d", "#x"]
)
def test_an_address_that_names_no_model_shows_the_list(
    service: Service, visit: Visit, place: str
) -> None:
    page = visit(service, place)
    expect(page.locator("#list li")).not_to_have_count(0)
    expect(page.locator("#model")).to_be_hidden()


def test_the_token_is_asked_for_and_kept_in_the_tab(guarded: Service, visit: Visit) -> None:
    service = guarded
    page = visit(service)
    field = page.get_by_label("Token")
    expect(field).to_be_focused()
    expect(page.locator("#board")).to_be_hidden()
    expect(page.locator("#health")).to_contain_text("0 running")  # which all may know
    for wrong, reason in (
        ("", "Enter the token."),
        ("clé", "A token has no spaces or accented letters."),
        ("guess", "This token is wrong."),
    ):
        field.fill(wrong)
        field.press("Enter")
        expect(field).to_have_accessible_description(re.compile(reason))
        expect(field).to_be_focused()
        assert page.evaluate("Object.values(sessionStorage).join()") == ""
    field.fill(TOKEN)
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#none")).to_be_visible()
    expect(page.locator("#token-form")).to_be_hidden()
    with closing(service.store()) as store:
        job = submit(store, "secret")
        store.request_cancel(job.id)
    page.reload()
    row(page, "default", "secret").click()
    expect(page.locator("#state")).to_have_text("cancelled")
    expect(page.locator("#notices li")).to_have_count(2)  # the stream was let in as well
    assert page.evaluate("Object.values(sessionStorage)") == [TOKEN]
    assert page.evaluate("localStorage.length + document.cookie.length") == 0
    assert TOKEN not in page.url
    assert TOKEN not in service.log.read_text()


def test_without_a_token_the_page_itself_is_open_and_nothing_else(guarded: Service) -> None:
    with httpx.Client(base_url=guarded.url) as http:
        page = http.get("/")
        assert page.status_code == 200
        assert "unsafe" not in page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assets = re.findall(r'(?:src|href)="(page/[^"]+)"', page.text)
        assert len(assets) == 4
        for asset in assets:
            assert http.get(f"/{asset}").status_code == 200, asset
        for path in (
            "/models",
            "/openapi.json",
            "/page/",
            "/page/index.html",
            "/page/..%2fapp.py",
            "/page/%2e%2e/app.py",
            "/page/app.js/../../models",
        ):
            assert http.get(path).status_code == 401, path
        assert http.post("/").status_code == 405
        # Open, and yet counted. Last here: from now on the service refuses.
        assert any(http.get("/").status_code == 429 for _ in range(300))
        assert http.get("/health").status_code == 200


def test_what_a_stranger_wrote_stays_text(
    service: Service, store: Store, visit: Visit, running: Running
) -> None:
    changes = {"task_prompt": EVIL, "training_data": [{"prompt": EVIL, "answer": EVIL}]}
    changes |= {"environment": "prompt_task", "verifier": "exact"}
    job = running("evil", base_model=EVIL, **changes)
    store.add_event(job.id, "warning", {"message": EVIL})
    store.add_event(job.id, "odd", {EVIL: EVIL})
    store.add_step(job.id, 1, step(1, dropped={EVIL: 2}, first_error=EVIL))
    page = visit(service, "#/default/evil")
    page.get_by_text("The newest job’s request").click()
    for place, times in (
        ("#facts", 1),
        ("#notices", 1),
        ("#groups", 1),
        ("#first-error", 1),
        ("#request", 4),
    ):
        expect(page.locator(place)).to_contain_text(EVIL.replace("_", " "))
        assert page.locator(place).inner_text().count(EVIL) == times, place
    expect(page.locator("#notices")).to_contain_text("odd {")
    store.end(job.id, Status.FAILED, error=EVIL, result=RESULT | {"adapter": EVIL})
    expect(page.locator("#error")).to_contain_text(EVIL)
    expect(page.locator("#result")).to_contain_text(EVIL)
    expect(page.locator("main script, main img")).to_have_count(0)


def test_a_thousand_models_are_turned_over_page_by_page(tmp_path: Path, visit: Visit) -> None:
    with occupied(tmp_path):
        store = Store(Folders(tmp_path / "data").database)
        hurry(store)
        for n in range(MANY):
            submit(store, f"m{n}")
        store.close()
        service = Service(tmp_path, {}).start()
        try:
            page = visit(service, "#/default/busy")
            expect(page.locator("#list li")).to_have_count(50)
            expect(page.locator("#shown")).to_have_text("1–50 of 1,001")
            expect(page.locator("#list .name").nth(0)).to_have_text("busy")
            expect(page.locator("#list .name").nth(1)).to_have_text("m999")
            expect(page.locator("#health")).to_contain_text("1,000 queued")
            expect(page.locator("#newer")).to_be_disabled()
            for n in range(1, 21):
                page.locator("#older").click()
                last = min(50 * n + 50, MANY + 1)
                expect(page.locator("#shown")).to_have_text(f"{50 * n + 1:,}–{last:,} of 1,001")
            expect(page.locator("#list .name")).to_have_text(["m0"])
            expect(page.locator("#older")).to_be_disabled()
            row(page, "default", "m0").click()
            expect(page.locator("#steps")).to_have_text("number 1 in the queue")
            # The model is not on this page, and is still looked after.
            page.locator("#newer").click()
            expect(page.locator("#list li")).to_have_count(50)
            expect(row(page, "default", "m0")).to_have_count(0)
            service.client.cancel("default", "m0")
            expect(page.locator("#state")).to_have_text("cancelled")
        finally:
            service.close()


def test_a_long_job_is_drawn_with_few_points(
    service: Service, store: Store, visit: Visit, running: Running
) -> None:
    job = running("endless", num_steps=5_000)
    hurry(store)
    train(store, job, 2_000)
    page = visit(service, "#/default/endless")
    expect(page.locator("#reading")).to_contain_text("Step 2,000 · reward 200")
    assert 300 < points(page) <= 401
    expect(page.locator("#groups tbody tr").nth(2)).to_have_text("Trajectories816,000")


def test_the_gain_on_held_out_scenarios_is_shown(
    service: Service, store: Store, visit: Visit, running: Running
) -> None:
    job = running("better")
    train(store, job, 3)
    scores = {"greedy": None, "rollouts": 80, "errors": {}}
    evaluation = {
        "scenarios": 20,
        "samples": 4,
        "confidence": 0.95,
        "base": scores | {"sampled": 0.25},
        "trained": scores | {"sampled": 0.625},
        "gain": 0.375,
        "interval": [-0.05, 0.5],
        "promote": True,
        "reason": "it is better",
        "report": "runs/r/evaluation/report.html",
    }
    store.add_event(job.id, "examples", {"kept": 50, "model": "openai/writer"})
    store.add_event(job.id, "evaluation", evaluation)
    store.end(job.id, Status.SUCCEEDED, result=RESULT | {"evaluation": evaluation})
    page = visit(service, "#/default/better")
    expect(page.locator(".gain")).to_have_text(
        "25% → 62.5% of 20 held-out scenarios solved, +37.5 points, 95% interval −5 to +50"
    )
    expect(page.locator("#result")).to_contain_text("It is better. Report: runs/r/evaluation/")
    notices = page.locator("#notices")
    expect(notices).to_contain_text("50 examples written by openai/writer")
    expect(notices).to_contain_text("Evaluated on 20 held-out scenarios")


def test_a_service_that_starts_no_jobs_is_told_from_one_that_works(
    service: Service, visit: Visit
) -> None:
    page = visit(service)
    expect(page.locator("#health")).to_contain_text("1 running")
    failing = service.client.health().model_dump() | {"status": "failing"}
    page.route("**/health", lambda route: route.fulfill(status=503, json=failing))
    expect(page.locator("#health")).to_contain_text("No jobs are started: the service’s log")


def test_the_keyboard_alone_opens_a_model(service: Service, visit: Visit) -> None:
    page = visit(service)
    expect(row(page, "done", "ended")).to_be_visible()
    while page.evaluate("document.activeElement.hash") != "#/done/ended":
        page.keyboard.press("Tab")
        assert "solid 3px" in page.evaluate("getComputedStyle(document.activeElement).outline")
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_have_text("cancelled")
    assert focused(page) == "model-title"
    expect(row(page, "done", "ended")).to_have_attribute("aria-current", "true")
    page.keyboard.press("Tab")
    expect(page.locator("#delete")).to_be_focused()


def test_the_focus_stays_on_a_row_while_others_come(
    service: Service, store: Store, visit: Visit
) -> None:
    page = visit(service)
    row(page, "done", "bad").focus()
    submit(store, "newcomer")
    expect(page.locator("#list .name").nth(1)).to_have_text("newcomer")
    expect(row(page, "done", "bad")).to_be_focused()
    store.delete("default", "newcomer")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen_and_all_stands_out(
    service: Service, store: Store, visit: Visit, running: Running, width: int
) -> None:
    job = running(LONG, project=LONG, base_model="W" * 300)
    store.add_event(job.id, "warning", {"message": "W" * 900})
    store.add_step(job.id, 1, step(1, dropped={"W" * 200: 1}, first_error="W" * 300))
    size = {"width": width, "height": 844}
    page = visit(service, viewport=size)
    link = row(page, LONG, LONG)
    expect(link).to_be_visible()
    assert not page.evaluate(OVERFLOWS)
    link.click()
    store.end(job.id, Status.FAILED, error="W" * 900, result=RESULT | {"adapter": "W" * 300})
    expect(page.locator("#error")).to_be_visible()
    page.locator("summary").click()
    assert not page.evaluate(OVERFLOWS)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(PALE, 0) == []
    page.locator("#delete").click()
    box = page.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert page.evaluate("document.querySelector('#sure').scrollWidth") <= width


def test_on_a_phone_the_model_takes_the_place_of_the_list(service: Service, visit: Visit) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = visit(service, **phone)
    row(page, "done", "good").tap()
    expect(page.locator("#state")).to_have_text("succeeded")
    expect(page.locator("#list")).to_be_hidden()
    for target in page.locator("button:visible, summary, a:visible").all():
        box = target.bounding_box()
        assert box is not None
        assert box["height"] >= 40, target.inner_text()
    page.get_by_role("link", name="All models").tap()
    expect(page.locator("#list")).to_be_visible()
    expect(page.locator("#model")).to_be_hidden()


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere(service: Service) -> None:
    source = (FILES / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", source)
    assert not re.search(r"(src|href)=\"(/|\w+:)", source)
    ids = re.findall(r'\sid="([^"]+)"', source)
    assert len(ids) == len(set(ids))
    for file in FILES.glob("*.js"):
        text = file.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
        assert len(text.splitlines()) < 300
    assert "/" not in httpx.get(f"{service.url}/openapi.json").json()["paths"]
