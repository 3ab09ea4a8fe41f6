"""Operations that follow a conversation: threads, topics, and searching all messages."""

from intermute.domain.agents import not_found
from intermute.domain.limits import (
    CURSOR_MAX,
    INBOX_PAGE_DEFAULT,
    PAGE_MAX,
    SEARCH_PAGE_DEFAULT,
    SEARCH_PAGE_MAX,
    THREADS_PAGE_DEFAULT,
)
from intermute.domain.refusals import Code, Refusal
from intermute.domain.views import FoundPage, MessagePage, ThreadView
from intermute.project.searching import TookTooLong
from intermute.web.calls import Call
from intermute.web.errors import Refused
from intermute.web.operations import Operations
from intermute.web.outcome import Outcome
from intermute.wire import messages as wire
from intermute.wire import search as search_wire
from intermute.wire.bodies import BadRequest, cursor, decimal, line

NO_THREADS: list[ThreadView] = []
NO_MESSAGES = MessagePage()
NOTHING_FOUND = FoundPage()
operations = Operations()


@operations.query("threads.list", "/api/threads")
async def list_threads(call: Call) -> Outcome:
    agent_id = line(call.query("agent") or call.agent_id or "", "agent")
    if not agent_id:
        raise BadRequest("agent required: whose threads are asked for")
    before = cursor(call.query("cursor"), default=CURSOR_MAX)
    limit = decimal(call.query("limit"), default=THREADS_PAGE_DEFAULT, most=PAGE_MAX)
    project = call.project_for(call.query("project"), agent_id, not_found)
    found = call.read_as(
        project,
        agent_id,
        lambda reader: reader.threads(agent_id, before=before, limit=limit + 1),
        empty=NO_THREADS,
    )
    body = wire.threads(found[:limit], before=before % CURSOR_MAX, more=len(found) > limit)
    return Outcome(200, body)


@operations.query("threads.get", "/api/threads/<path:thread_id>")
async def get_thread(call: Call) -> Outcome:
    thread_id = line(call.path("thread_id"), "thread_id")
    after = cursor(call.query("cursor"), default=0)
    limit = decimal(call.query("limit"), default=PAGE_MAX, most=PAGE_MAX)
    project = call.project(call.query("project"))
    page = call.look(
        project,
        lambda reader: reader.thread(thread_id, after=after, limit=limit),
        empty=NO_MESSAGES,
    )
    body = wire.messages(page, call.agent_id, after=after)
    return Outcome(200, {"thread_id": thread_id, **body})


@operations.query("topics.get", "/api/topics/<project>/<path:topic>")
async def get_topic(call: Call) -> Outcome:
    return _topic(call, call.project(call.path("project")), call.path("topic"))


@operations.query("topics.find", "/api/topics")
async def find_topic(call: Call) -> Outcome:
    return _topic(call, call.project(call.query("project")), call.query("topic") or "")


def _topic(call: Call, project: str, name: str) -> Outcome:
    topic = wire.topic_name(name)
    if not topic:
        raise BadRequest("topic required")
    after = cursor(call.query("since_cursor"), default=0)
    limit = decimal(call.query("limit"), default=INBOX_PAGE_DEFAULT, most=PAGE_MAX)
    page = call.look(
        project, lambda reader: reader.topic(topic, after=after, limit=limit), empty=NO_MESSAGES
    )
    return Outcome(200, wire.messages(page, call.agent_id, after=after))


@operations.query("messages.search", "/api/search")
async def search(call: Call) -> Outcome:
    terms = search_wire.terms(call.query("q") or "")
    before = cursor(call.query("cursor"), default=CURSOR_MAX)
    limit = decimal(call.query("limit"), default=SEARCH_PAGE_DEFAULT, most=SEARCH_PAGE_MAX)
    project = call.project(call.query("project"))
    call.verify_viewer(project)
    try:
        page = await call.projects.searches.search(
            project,
            lambda reader: reader.search(terms, before=before, limit=limit),
            empty=NOTHING_FOUND,
        )
    except TookTooLong:
        raise Refused(_TOO_BROAD) from None
    return Outcome(200, search_wire.found(page, call.agent_id, before=before % CURSOR_MAX))


_TOO_BROAD = Refusal(
    Code.SEARCH_TOO_BROAD,
    "the search was given up because it takes too long: use rarer or longer words",
)
