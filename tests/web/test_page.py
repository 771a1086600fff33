from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import OVERFLOWS, PALE
from tests.fakes.answer_server import (
    WEB,
    Reply,
    answer,
    event,
    mail,
    no_answer,
    read,
    refuses,
    says,
    search,
    stream,
    wrong,
)
from tests.web.conftest import EXAMPLES, QUESTION, Serve, Visit, ask, fill

EVIL = "<script>alert('x')</script><img src=https://evil.example/x onerror=alert(1)> & \"q\""
LONG = "W" * 400
BODY = "Hi Bob,\n\nthe budget is due on May 3.\n\nAnn"
DUE = answer("It is due on May 3.", mail(BODY, "due on May 3"))
FIELDS = ("question", "inbox_address", "query_date")

FOCUSED = "document.activeElement.id || document.activeElement.textContent"
EVENTS = """
async (chunks) => {
  const { events } = await import(new URL("assets/sse.js", document.baseURI));
  const body = new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new Uint8Array(chunk));
      controller.close();
    },
  });
  const seen = [];
  for await (const { name, data } of events(body)) seen.push([name, data]);
  return seen;
}
"""


def events(page: Page, data: bytes, size: int) -> list[list[str]]:
    """What the page makes of a stream that comes in chunks of ``size`` bytes."""
    return page.evaluate(EVENTS, [list(data[at : at + size]) for at in range(0, len(data), size)])


def heading(page: Page, text: str) -> None:
    expect(page.locator("#result").get_by_role("heading", level=2)).to_have_text(text)


def test_an_idle_page_shows_the_form_the_examples_and_the_model(serve: Serve, visit: Visit) -> None:
    page = visit(serve(examples=EXAMPLES))
    expect(page.get_by_role("heading", level=1)).to_have_text("Ask an inbox")
    expect(page.locator("#examples").get_by_role("button")).to_have_count(2)
    expect(page.get_by_role("contentinfo")).to_have_text(
        "Answered by email-agent, version 1, step 150"
    )
    expect(page.locator("#query_date")).to_have_value(re.compile(r"\d{4}-\d\d-\d\d"))
    for hidden in ("#result", "#key-form", ".error"):
        assert not any(part.is_visible() for part in page.locator(hidden).all())


def test_no_examples_leave_no_gap(serve: Serve, visit: Visit) -> None:
    expect(visit(serve()).locator("#examples")).to_be_hidden()


def test_an_example_fills_the_form_and_is_asked(serve: Serve, visit: Visit) -> None:
    server = serve(stream(DUE), examples=EXAMPLES)
    page = visit(server)
    page.get_by_role("button", name="safety review").click()
    heading(page, "Answer")
    assert server.requests == [EXAMPLES[1]]
    assert [page.locator(f"#{name}").input_value() for name in FIELDS] == [*EXAMPLES[1].values()]
    assert page.evaluate(FOCUSED) == "result-title"


def test_the_work_is_shown_while_it_happens(serve: Serve, visit: Visit) -> None:
    gates = [threading.Event() for _ in range(4)]
    searched = search("budget", "due", hits=3, sender="a@b.c", sent_after="2001-01-01")
    refused = search("may", error="sent_before is no date")
    opened = read("<1.2@x>", "Budget 2001")
    pieces = [searched, gates[0], refused, gates[1], opened, gates[2], read("<3@x>"), gates[3], DUE]
    page = visit(serve(stream(*pieces)))
    ask(page)
    steps, status = page.locator(".steps li"), page.get_by_role("status")
    heading(page, "Working on it")
    expect(steps).to_have_text(
        [
            "Searched “budget” “due”, from a@b.c, since 1 January 2001 3 mails",
            "Looking at the results",
        ]
    )
    expect(status).to_contain_text("Searched “budget” “due”")
    gates[0].set()
    expect(steps.nth(1)).to_have_text("Searched “may”sent_before is no date failed")
    gates[1].set()
    expect(steps.nth(2)).to_have_text("Opened Budget 2001ann@harbor.example, 3 May 2001")
    expect(status).to_have_text("Opened Budget 2001")
    gates[2].set()
    expect(steps.nth(3)).to_have_text("Asked for <3@x> not found")
    gates[3].set()
    expect(status).to_have_text("Answer: It is due on May 3. 1 source.")
    page.get_by_text("What the agent did").click()
    expect(steps).to_have_count(4)
    expect(page.locator(".work summary")).to_contain_text("2 searches, 1 mail opened, 3 turns")


def test_the_seconds_are_counted(serve: Serve, visit: Visit) -> None:
    page = visit(serve(stream(threading.Event())), clock=True)
    ask(page)
    expect(page.locator(".elapsed")).to_have_text("0 s")
    page.clock.run_for(3000)
    expect(page.locator(".elapsed")).to_have_text(re.compile(r"^[34]\ss$"))
    page.clock.run_for(62_000)
    expect(page.locator(".elapsed")).to_have_text(re.compile(r"^1\smin\s[56]\ss$"))


def test_an_answer_opens_to_its_mails(serve: Serve, visit: Visit) -> None:
    page = visit(serve(stream(DUE)))
    ask(page)
    expect(page.locator(".answer")).to_have_text("It is due on May 3.")
    expect(page.locator(".asked")).to_contain_text(QUESTION["question"])
    body = page.locator(".source .body")
    expect(body).to_be_hidden()
    page.locator(".source summary").click()
    expect(body).to_be_visible()
    assert body.inner_text() == BODY
    assert page.locator("mark").all_inner_texts() == ["due on May 3"]
    expect(page.locator(".source dl")).to_have_text(
        "Fromann@harbor.exampleTobob@harbor.exampleDate3 May 2001Id<1.2@harbor.example>"
    )


def test_marks_count_characters_and_not_utf16_units(serve: Serve, visit: Visit) -> None:
    body = "\U0001f389\U0001f469\u200d\U0001f680 Re: é 🎉 due on May 3 🎉, room 12\n\U0001f389"
    source = mail(body, "due on May 3", "room 12", "\n\U0001f389")
    page = visit(serve(stream(answer("May 3.", source))))
    ask(page)
    page.locator(".source summary").click()
    marks = ["due on May 3", "room 12", "\n\U0001f389"]
    assert page.locator("mark").all_text_contents() == marks
    assert page.locator(".source .body").text_content() == body


def test_marks_that_make_no_sense_lose_no_text(serve: Serve, visit: Visit) -> None:
    odd: list[Any] = [[[3, 99]], [[0, 0], [3, 5], [4, 6]], [[5, 3]], [[90, 99]], []]
    page = visit(serve(stream(answer("a", *(mail("abcdef", marks=marks) for marks in odd)))))
    ask(page)
    expect(page.locator(".source .body")).to_have_text(["abcdef"] * len(odd))


def test_no_answer_is_said_calmly_with_the_reason(serve: Serve, visit: Visit) -> None:
    page = visit(
        serve(stream(search("x", hits=0), no_answer("Nothing was found.", "Out of turns.")))
    )
    ask(page)
    heading(page, "No answer")
    expect(page.locator("#result")).to_contain_text("Nothing was found.Out of turns.")
    expect(page.get_by_role("status")).to_have_text("No answer: Nothing was found. Out of turns.")
    expect(page.locator(".sources, .answer")).to_have_count(0)


@pytest.mark.parametrize("name", FIELDS)
def test_bad_input_is_explained_beside_its_field(serve: Serve, visit: Visit, name: str) -> None:
    page = visit(serve(wrong(**{name: "Value error, this will not do"})))
    ask(page)
    field = page.locator(f"#{name}")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("^this will not do"))
    expect(page.locator("[aria-invalid]")).to_have_count(1)
    expect(page.locator("#result")).to_be_hidden()
    field.fill(QUESTION[name].replace("3", "2"))
    expect(page.locator("[aria-invalid], .error:visible")).to_have_count(0)


def test_several_bad_fields_are_all_marked_and_the_first_has_the_focus(
    serve: Serve, visit: Visit
) -> None:
    page = visit(serve(wrong(query_date="no such day", inbox_address="no such inbox")))
    ask(page)
    expect(page.locator("#inbox_address")).to_be_focused()
    expect(page.locator(".error:visible")).to_have_text(["no such inbox", "no such day"])


def test_empty_fields_are_found_before_anything_is_asked(serve: Serve, visit: Visit) -> None:
    server = serve(stream(DUE))
    page = visit(server)
    ask(page, question=" ", query_date="")
    expect(page.locator("#question")).to_be_focused()
    expect(page.locator(".error:visible")).to_have_text(["Enter a question.", "Choose a date."])
    assert server.requests == []


@pytest.mark.parametrize("reply", [refuses(413, "Too long"), wrong(other="Too long")])
def test_bad_input_of_no_field_is_explained_above_the_form(
    serve: Serve, visit: Visit, reply: Reply
) -> None:
    page = visit(serve(reply))
    ask(page)
    expect(page.locator("#form-error")).to_have_text("Too long")
    expect(page.locator("#form-error")).to_be_focused()


def test_the_page_asks_for_a_key_where_one_is_required(serve: Serve, visit: Visit) -> None:
    server = serve(stream(DUE), key="secret", examples=EXAMPLES)
    page = visit(server)
    key = page.get_by_label("Access key")
    expect(page.locator("#examples")).to_be_hidden()
    key.fill("guess")
    key.press("Enter")
    expect(key).to_be_focused()
    expect(key).to_have_accessible_description(re.compile("^This is not the key. Kept in this tab"))
    assert page.evaluate("Object.values(sessionStorage).join()") == ""
    key.fill("secret")
    key.press("Enter")
    expect(page.locator("#key-form")).to_be_hidden()
    expect(page.locator("#question")).to_be_focused()
    expect(page.locator("#examples").get_by_role("button")).to_have_count(2)
    page.reload()
    ask(page)
    heading(page, "Answer")
    expect(page.locator("#key-form")).to_be_hidden()
    assert server.headers[0]["authorization"] == "Bearer secret"
    assert page.evaluate("Object.values(sessionStorage)") == ["secret"]
    assert page.evaluate("localStorage.length") == 0
    assert "secret" not in page.url


def test_a_question_that_needed_a_key_is_asked_once_it_is_there(serve: Serve, visit: Visit) -> None:
    server = serve(stream(DUE))
    page = visit(server)
    server.key = "secret"
    ask(page)
    key = page.get_by_label("Access key")
    expect(key).to_be_focused()
    expect(page.locator("#result")).to_be_hidden()
    key.fill("secret")
    page.get_by_role("button", name="Continue").click()
    heading(page, "Answer")
    assert server.requests == [QUESTION, QUESTION]


@pytest.mark.parametrize(
    ("key", "problem"), [("", "Enter the key."), ("clé", "A key has no"), ("a b", "A key has no")]
)
def test_what_cannot_be_a_key_is_not_sent(
    serve: Serve, visit: Visit, key: str, problem: str
) -> None:
    page = visit(serve(key="secret"))
    page.get_by_label("Access key").fill(key)
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#key-error")).to_contain_text(problem)


def test_a_question_to_an_unavailable_agent_can_be_asked_again(serve: Serve, visit: Visit) -> None:
    page = visit(serve(refuses(503, "The model is being replaced", retry_after="30"), stream(DUE)))
    ask(page)
    heading(page, "The agent is not available right now")
    expect(page.locator(".message")).to_have_text(
        "The model is being replaced. Try again in 30 seconds."
    )
    page.get_by_role("button", name="Try again").press("Enter")
    heading(page, "Answer")
    assert page.evaluate(FOCUSED) == "result-title"


def test_a_lost_network_differs_from_an_unavailable_agent(serve: Serve, visit: Visit) -> None:
    page = visit(serve(stream(DUE)))
    page.context.set_offline(True)
    ask(page)
    heading(page, "The agent cannot be reached")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    heading(page, "Answer")


def test_a_connection_that_breaks_keeps_what_was_done(serve: Serve, visit: Visit) -> None:
    gate = threading.Event()
    page = visit(serve(stream(search("budget", hits=3), gate, cut=True), stream(DUE)))
    ask(page)
    expect(page.locator(".steps li")).to_have_count(2)
    gate.set()
    heading(page, "The connection was lost")
    expect(page.locator(".work")).to_contain_text("1 search, no mails opened")
    page.get_by_role("button", name="Try again").click()
    heading(page, "Answer")


@pytest.mark.parametrize(
    ("reply", "title", "message"),
    [
        (stream(search("x", hits=1)), "The connection was lost", "before the answer"),
        (stream(b"event: answer\ndata: {\n\n"), "The connection was lost", "before the answer"),
        (stream(event("error", {"message": "It broke."})), "The agent could not fin", "It broke."),
        (says({"status": "ok"}), "The agent is not available", "something else"),
        (
            Reply([b"<h1>Bad gateway</h1>"], 503),
            "The agent is not available",
            "answered with 503",
        ),
    ],
)
def test_what_ends_without_an_answer_is_explained(
    serve: Serve, visit: Visit, reply: Reply, title: str, message: str
) -> None:
    page = visit(serve(reply))
    ask(page)
    expect(page.locator("#result-title")).to_contain_text(title)
    expect(page.locator(".message")).to_contain_text(message)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text(title)


def test_stop_ends_the_request_and_keeps_the_focus_in_place(serve: Serve, visit: Visit) -> None:
    server = serve(stream(search("x", hits=1), threading.Event(), DUE), stream(DUE))
    page = visit(server)
    ask(page)
    expect(page.locator(".steps li")).to_have_count(2)
    page.get_by_role("button", name="Stop").press("Enter")
    heading(page, "Stopped")
    assert server.hung_up.wait(5)
    assert page.evaluate(FOCUSED) == "result-title"
    page.get_by_role("button", name="Ask again").click()
    heading(page, "Answer")


def test_a_new_question_ends_the_one_before(serve: Serve, visit: Visit) -> None:
    gate = threading.Event()
    server = serve(stream(search("first", hits=1), gate, answer("late")), stream(answer("new")))
    page = visit(server)
    ask(page)
    expect(page.locator(".steps")).to_contain_text("first")
    ask(page, question="Another one?")
    expect(page.locator(".answer")).to_have_text("new")
    assert server.hung_up.wait(5)
    gate.set()
    expect(page.locator(".asked")).to_contain_text("Another one?")
    expect(page.locator(".answer")).to_have_text("new")


@pytest.mark.parametrize("press", ["Enter", "Control+Enter", "Meta+Enter"])
def test_enter_asks_from_every_field(serve: Serve, visit: Visit, press: str) -> None:
    server = serve(stream(DUE))
    page = visit(server)
    fill(page)
    for count, name in enumerate(FIELDS, 1):
        with page.expect_response("**/stream"):
            page.locator(f"#{name}").press(press)
        heading(page, "Answer")
        assert server.requests == [QUESTION] * count


def test_shift_and_enter_start_a_new_line(serve: Serve, visit: Visit) -> None:
    server = serve(stream(DUE))
    page = visit(server)
    fill(page, question="one")
    page.locator("#question").press("End")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    expect(page.locator("#question")).to_have_value("one\ntwo")
    assert server.requests == []


def test_the_keyboard_alone_reaches_everything_in_order(serve: Serve, visit: Visit) -> None:
    page = visit(serve(stream(search("x", hits=1), DUE), examples=EXAMPLES[:1]))
    page.keyboard.press("Tab")
    page.keyboard.type(QUESTION["question"])
    page.keyboard.press("Tab")
    page.keyboard.type(QUESTION["inbox_address"])
    page.keyboard.press("Enter")
    heading(page, "Answer")
    stops: list[str] = []
    for _ in range(12):
        outline = "getComputedStyle(document.activeElement).outline"
        assert re.search(r"solid 3px", page.evaluate(outline)), page.evaluate(FOCUSED)
        if page.evaluate(FOCUSED) not in stops:
            stops.append(page.evaluate(FOCUSED))
        if "What the agent did" in stops[-1]:
            break
        if "Budget" in stops[-1]:
            page.keyboard.press("Space")
            expect(page.locator(".source .body")).to_be_visible()
        page.keyboard.press("Tab")
    assert stops[:3] == ["inbox_address", "query_date", "Ask"]
    assert "Budget" in stops[3]
    assert "What the agent did" in stops[4]
    page.keyboard.press("Tab")
    assert QUESTION["question"] in page.evaluate(FOCUSED)


def test_a_stream_may_be_cut_anywhere(serve: Serve, visit: Visit) -> None:
    lines = [
        "\ufeff: hello",
        "event: search",
        "data: é🎉",
        "",
        ": still here",
        "",
        "id: 7",
        "event:read",
        "data:one",
        "data: two",
        "data",
        "",
        "event: forgotten",
        "",
        "data:  plain: text",
        "",
        "event: answer",
        "data: half",
    ]
    page = visit(serve())
    for end in ("\n", "\r\n", "\r"):
        sent = (end.join(lines) + end).encode()
        for size in (1, 2, 3, 7, len(sent)):
            assert events(page, sent, size) == [
                ["search", "é🎉"],
                ["read", "one\ntwo\n"],
                ["message", " plain: text"],
            ], (end, size)


def test_an_answer_that_comes_byte_by_byte_is_whole(serve: Serve, visit: Visit) -> None:
    sent = b": still here\r\n\r\n" + answer("Zoë says 🎉").replace(b"\n", b"\r\n")
    page = visit(serve(stream(*(bytes([byte]) for byte in sent))))
    ask(page)
    expect(page.locator(".answer")).to_have_text("Zoë says 🎉")


def test_what_a_stranger_wrote_stays_text(serve: Serve, visit: Visit) -> None:
    evil = mail(EVIL, EVIL, subject=EVIL, sender=EVIL, to=[EVIL], date=EVIL, message_id=EVIL)
    steps = [search(EVIL, hits=1, sender=EVIL, sent_after=EVIL), search(EVIL, error=EVIL)]
    steps += [read("<1>", EVIL), read(EVIL)]
    example = {"question": EVIL, "inbox_address": EVIL, "query_date": EVIL}
    page = visit(serve(stream(*steps, answer(EVIL, evil, reason=EVIL)), examples=[example]))
    expect(page.locator(".example")).to_contain_text(EVIL)
    ask(page, question=EVIL, inbox_address=EVIL)
    heading(page, "Answer")
    for summary in page.locator("summary").all():
        summary.click()
    for place in (".asked", ".answer", ".reason", ".subject", ".source dl", ".body", "mark"):
        assert EVIL in page.locator(place).inner_text()
    assert page.locator(".steps").inner_text().count(EVIL) == 7
    expect(page.locator("main script, main img")).to_have_count(0)


def test_what_an_error_says_stays_text(serve: Serve, visit: Visit) -> None:
    replies = [refuses(503, EVIL), stream(event("error", {"message": EVIL})), wrong(question=EVIL)]
    page = visit(serve(*replies))
    ask(page)
    expect(page.locator(".message")).to_contain_text(EVIL)
    ask(page)
    heading(page, "The agent could not finish")
    expect(page.locator(".message")).to_have_text(EVIL)
    ask(page)
    expect(page.locator("#question-error")).to_have_text(EVIL)


@pytest.mark.parametrize(
    "reply",
    [
        stream(search("budget", hits=2), read("<1>", "Budget"), DUE),
        stream(search("budget", hits=2), read("<1>"), threading.Event()),
        stream(no_answer("Nothing was found.", "Out of turns.")),
        wrong(question="Too long", inbox_address="No such inbox", query_date="No such day"),
        refuses(413, "Too long"),
        refuses(503, "Not now"),
        refuses(401, "No key"),
    ],
    ids=["answered", "waiting", "unanswered", "fields", "form", "unavailable", "key"],
)
def test_text_stands_out_in_light_and_dark(serve: Serve, visit: Visit, reply: Reply) -> None:
    page = visit(serve(reply, examples=EXAMPLES))
    ask(page)
    expect(page.locator("#result-title, .error:visible, #key:visible").first).to_be_visible()
    for summary in page.locator("summary").all():
        summary.click()
    if page.locator("#key").is_visible():
        page.locator("#key").press("Enter")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(PALE) == []


def test_dark_mode_is_followed(serve: Serve, visit: Visit) -> None:
    page = visit(serve(), color_scheme="light")
    look = (
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    light = page.evaluate(look)
    page.emulate_media(color_scheme="dark")
    assert not set(light) & set(page.evaluate(look))
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light dark"


def test_motion_stops_where_it_is_not_wanted(serve: Serve, visit: Visit) -> None:
    page = visit(serve(stream(threading.Event())), reduced_motion="no-preference")
    ask(page)
    expect(page.locator(".now")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(serve: Serve, visit: Visit, width: int) -> None:
    source = mail(LONG, LONG[:9], subject=LONG, sender=LONG, to=[LONG], message_id=LONG)
    steps = [search(LONG, hits=10), search(LONG, error=LONG), read("<1>", LONG), read(LONG)]
    example = {"question": LONG, "inbox_address": LONG, "query_date": "2001-12-31"}
    replies = [stream(*steps, answer(LONG, source)), refuses(503, LONG), wrong(question=LONG)]
    size = {"width": width, "height": 844}
    page = visit(serve(*replies, examples=[example]), viewport=size)
    expect(page.locator(".example")).to_be_visible()
    assert not page.evaluate(OVERFLOWS)
    ask(page, question=LONG, inbox_address=LONG)
    heading(page, "Answer")
    for summary in page.locator("summary").all():
        summary.click()
    assert not page.evaluate(OVERFLOWS)
    for _ in range(2):
        ask(page)
        expect(page.locator(".message, #question-error:visible")).to_have_text(re.compile(LONG))
        assert not page.evaluate(OVERFLOWS)


def test_on_a_phone_the_work_comes_into_view(serve: Serve, visit: Visit) -> None:
    page = visit(serve(stream(threading.Event())), viewport={"width": 390, "height": 600})
    ask(page)
    expect(page.locator("#result-title")).to_be_in_viewport()


def test_on_a_phone_buttons_are_large_enough_for_a_thumb(serve: Serve, visit: Visit) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = visit(serve(stream(DUE), examples=EXAMPLES, key=None), **phone)
    ask(page)
    heading(page, "Answer")
    for target in page.locator("button:visible, summary, input:visible").all():
        assert target.bounding_box()["height"] >= 44, target.inner_text()


def test_every_field_says_what_it_is(serve: Serve, visit: Visit) -> None:
    page = visit(serve(key="secret"))
    for name in ("Access key", "Question", "Inbox address", "Date"):
        expect(page.get_by_label(name, exact=True)).to_be_visible()
    for field in page.locator("input, textarea, button").all():
        expect(field).to_have_accessible_name(re.compile(r"\w"))
    expect(page.locator("h1")).to_have_count(1)
    expect(page.get_by_role("status")).to_have_attribute("aria-live", "polite")
    assert page.evaluate("document.documentElement.lang") == "en"
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


def test_the_page_works_behind_a_path_prefix(serve: Serve, visit: Visit) -> None:
    page = visit(serve(stream(DUE), examples=EXAMPLES, prefix="/agents/mail/"))
    page.locator(".example").first.click()
    heading(page, "Answer")


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    source = (WEB / "index.html").read_text()
    assert not re.search(r"\{\{|\{%|\{#|<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", source)
    assert not re.search(r"(src|href)=\"(/|\w+:)", source)
    for file in (WEB / "assets").glob("*.js"):
        text = file.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
        assert not re.search(r"https?://", text)
        assert len(text.splitlines()) < 300
