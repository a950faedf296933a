"""The codec: what goes in comes out, and whatever else comes in is refused by one error."""

import os
from dataclasses import fields
from math import inf, nan
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_common import limits, messages, outcomes, tasks
from hs_common.errors import WireError
from hs_common.message_requests import STATUSES
from hs_common.messages import TYPE_OF, BundleHeader, Demand, Message
from hs_common.wire import VERSION, VersionError, decode, encode

IDS = st.integers(1, limits.ID_MAX)
TOKENS = st.binary(min_size=16, max_size=16)
COUNTS = st.integers(0, limits.ID_MAX)
SECONDS = st.floats(0, 1e9)
TEXTS = st.text(max_size=50)
DEMANDS = st.builds(Demand, COUNTS, COUNTS, SECONDS)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("session", "worker", "scheduler", "store", "client", "broker"), TOKENS),
    "replaces": TOKENS | st.just(b""),
    **dict.fromkeys(("version", "host", "database", "reason"), TEXTS),
    "verb": TEXTS,
    "request": IDS,
    "status": st.sampled_from(STATUSES),
    "pid": st.integers(0, 2**22),
    "slots": st.integers(0, limits.SLOTS_MAX),
    "credit": st.integers(0, limits.CREDIT_MAX),
    "tasks": st.integers(1, limits.CREDIT_MAX),
    "cores": COUNTS,
    "memory": COUNTS,
    "seconds": SECONDS,
    "epoch": st.integers(0, 2**22),
    **dict.fromkeys(("sequence", "oldest"), IDS),
    **dict.fromkeys(("fatal", "confirms", "more", "gone", "now"), st.booleans()),
    **dict.fromkeys(("inventory", "closed", "queued", "sequences", "bundles"), st.lists(IDS, max_size=20).map(tuple)),
    "body": st.binary(max_size=200),
}
"""What each field of any message may hold."""


def _a(message: type[Message]) -> st.SearchStrategy[Message]:
    if message in (messages.Submit, messages.Assign):
        return st.lists(
            st.tuples(IDS, st.integers(1, limits.BUNDLE_TASKS_MAX), st.binary(min_size=1), DEMANDS)
        ).flatmap(
            lambda parts: st.builds(
                message,
                session=TOKENS,
                bundles=st.just(tuple(BundleHeader(i, count, len(body), need) for i, count, body, need in parts)),
                body=st.just(b"".join(body for _, _, body, _ in parts)),
            )
        )
    values = {field.name: VALUES[field.name] for field in fields(message)}
    if message in (messages.Cancel, messages.Withdraw):
        values["tasks"] = st.lists(st.tuples(IDS, IDS), max_size=20).map(tuple)
    return st.builds(message, **values)


MESSAGES = st.sampled_from(sorted(TYPE_OF)).flatmap(lambda code: _a(TYPE_OF[code]))


@given(MESSAGES)
def test_decoding_what_was_encoded_gives_the_same_message(message: Message) -> None:
    """No message changes on its way."""
    assert decode(encode(message)) == message


@pytest.mark.parametrize("message", TYPE_OF.values(), ids=lambda message: message.__name__)
def test_every_class_of_message_goes_there_and_back(message: type[Message]) -> None:
    """The random choice above must not leave one out."""

    @given(_a(message))
    def there_and_back(value: Message) -> None:
        assert type(decode(encode(value))) is message
        assert decode(encode(value)) == value

    there_and_back()


def test_the_union_and_the_table_name_the_same_classes() -> None:
    """A message without a number could not be sent."""
    assert set(messages.Message.__args__) == set(TYPE_OF.values())


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_a_wire_error(frame: bytes) -> None:
    """Every frame is hostile until it is decoded."""
    with pytest.raises(WireError):
        decode(frame)


@given(st.sampled_from(sorted(TYPE_OF)), st.binary(max_size=100), st.binary(max_size=20))
def test_a_random_header_behind_a_good_prefix_raises_nothing_but_a_wire_error(
    code: int, header: bytes, body: bytes
) -> None:
    """Also where it is nearly a message."""
    frame = bytes([VERSION, code]) + len(header).to_bytes(4) + header + body
    try:
        decoded = decode(frame)
    except WireError:
        return
    assert decode(encode(decoded)) == decoded


@given(MESSAGES, st.data())
def test_a_cut_frame_is_refused(message: Message, data: st.DataObject) -> None:
    """Unless only its body is shorter, which nobody but its reader can know."""
    frame = encode(message)
    cut = data.draw(st.integers(0, len(frame) - 1))
    has_plain_body = type(message) in (messages.Result, messages.Running, messages.Request, messages.Reply)
    try:
        shorter = decode(frame[:cut])
    except WireError:
        return
    assert has_plain_body
    assert type(shorter) is type(message)


@given(MESSAGES, st.data())
def test_a_changed_byte_gives_a_wire_error_or_another_valid_message(message: Message, data: st.DataObject) -> None:
    """Never another exception, never a value out of bounds."""
    frame = bytearray(encode(message))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        changed = decode(bytes(frame))
    except WireError:
        return
    assert decode(encode(changed)) == changed


@given(
    MESSAGES, st.lists(st.integers() | st.floats() | st.binary() | st.text() | st.none() | st.booleans(), max_size=14)
)
def test_a_header_of_other_values_is_refused_or_in_bounds(message: Message, values: list[Any]) -> None:
    """What is decoded can be encoded again: so nothing slipped past the checks that the wire could not carry."""
    frame = _frame(type(message), values)
    try:
        decoded = decode(frame)
    except WireError:
        return
    assert decode(encode(decoded)) == decoded


GOOD: dict[type[Message], dict[str, Any]] = {
    messages.Credit: {"session": bytes(16), "tasks": 1},
    messages.Bye: {"session": bytes(16), "reason": "over"},
    messages.Cancel: {"session": bytes(16), "worker": bytes(16), "tasks": [[1, 1]]},
    messages.Submit: {"session": bytes(16), "bundles": []},
    messages.Result: {
        "session": bytes(16),
        "worker": bytes(16),
        "sequence": 1,
        "oldest": 1,
        "tasks": 0,
        "closed": [],
    },
}
"""Headers that decode, field by field in their order."""


@pytest.mark.parametrize("message", GOOD)
def test_the_good_headers_below_are_good(message: type[Message]) -> None:
    """Else the next test would refuse for another reason."""
    assert type(decode(_frame(message, list(GOOD[message].values())))) is message
    assert list(GOOD[message]) == [field.name for field in fields(message) if field.name != "body"]


@pytest.mark.parametrize(
    ("message", "name", "value", "why"),
    [
        (messages.Credit, "tasks", -1, "no integer in"),
        (messages.Credit, "tasks", True, "no integer in"),
        (messages.Credit, "tasks", 1.0, "no integer in"),
        (messages.Credit, "tasks", limits.QUEUE_TASKS_MAX + 1, "no integer in"),
        (messages.Credit, "session", bytes(15), "not 16 bytes"),
        (messages.Credit, "session", "0123456789abcdef", "not 16 bytes"),
        (messages.Result, "sequence", 0, "no integer in"),  # they count from 1
        (messages.Result, "closed", [2**63], "no id"),
        (messages.Result, "closed", [-1], "no id"),
        (messages.Result, "closed", [0], "no id"),
        (messages.Result, "closed", [[1]], "no id"),
        (messages.Result, "closed", 7, "no array"),
        (messages.Cancel, "tasks", [[1]], "row and dispatch"),
        (messages.Submit, "bundles", [[1, 0, 1, [0, 0, 0.0]]], "out of bounds"),  # a bundle of no task
        (messages.Submit, "bundles", [[1, 1, 1, [0, 0, float("nan")]]], "seconds"),
        (messages.Submit, "bundles", [[1, 1, 1, [0, 0, -1.0]]], "seconds"),
        (messages.Submit, "bundles", [[1, 1, 5, [0, 0, 0.0]]], "in a body of 0"),  # it says 5 bytes and brings none
        (messages.Submit, "bundles", [[1, 1]], "not enough values"),
        (messages.Bye, "reason", b"text", "no text"),
        (messages.Bye, "reason", "x" * 2000, "exceeds max_str_len"),
    ],
)
def test_a_field_out_of_bounds_is_refused_with_its_reason(
    message: type[Message], name: str, value: Any, why: str
) -> None:
    """Behind decode nobody checks again."""
    with pytest.raises(WireError, match=why):
        decode(_frame(message, list((GOOD[message] | {name: value}).values())))


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ([bytes(16)], "not 2 fields"),
        ([bytes(16), 1, 1], "not 2 fields"),
        (5, "not 2 fields"),
        ({b"session": bytes(16)}, "max_map_len"),
        (msgpack.ExtType(5, b"x"), "max_ext_len"),
    ],
)
def test_a_header_of_another_shape_is_refused(header: Any, why: str) -> None:
    """Fields are known by their place: one more or less, and each means something else."""
    with pytest.raises(WireError, match=why):
        decode(_frame(messages.Credit, header))


def test_another_version_is_told_apart() -> None:
    """It is answered, where nonsense is dropped."""
    frame = bytearray(encode(messages.WhoAreYou()))
    frame[0] = VERSION + 1
    with pytest.raises(VersionError):
        decode(bytes(frame))


@pytest.mark.parametrize("hello", [messages.WorkerHello, messages.SchedulerHello, messages.ControlHello])
@pytest.mark.parametrize("fields", [0, 2, 20])
def test_a_hello_of_another_shape_is_of_another_version(hello: type[messages.Message], fields: int) -> None:
    """Who says it would wait for ever for an answer."""
    with pytest.raises(VersionError, match=f"{hello.__name__}: not "):
        decode(_frame(hello, (bytes(16),) * fields))


def test_an_unknown_type_is_refused() -> None:
    """Of a newer peer perhaps; its version says so, not its types."""
    with pytest.raises(WireError, match="unknown message type 255"):
        decode(bytes([VERSION, 255, 0, 0, 0, 0]))


def test_a_frame_over_the_limit_is_refused_by_its_length_alone() -> None:
    """Before a byte of it is looked at."""
    with pytest.raises(WireError, match=f"is over {limits.MESSAGE_BYTES_MAX}"):
        decode(bytes(limits.MESSAGE_BYTES_MAX + 1))


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x91" * 100_000,  # nested arrays
        b"\x80" * 200_000,  # as many empty maps: 73 times their size in memory
        b"\xdd\xff\xff\xff\xff",  # an array that says it has 2^32 - 1 items
        b"\xdc\xff\xff" + b"\xc0" * 65535,  # more items than IDS_MAX
        b"\xc6\xff\xff\xff\xff",  # bytes that say they are 4 GiB
        b"\xdf\xff\xff\xff\xff",  # a map likewise
        b"\xc1",  # never used in msgpack
        b"",
    ],
    ids=["nested", "maps", "array32", "items", "bin32", "map32", "reserved", "nothing"],
)
def test_a_msgpack_bomb_is_refused(bomb: bytes) -> None:
    """In the header as in every body."""
    for code in TYPE_OF:
        with pytest.raises(WireError):
            decode(bytes([VERSION, code]) + len(bomb).to_bytes(4) + bomb)
    for unpack in (tasks.unpack_bundle, outcomes.unpack_outcomes, tasks.unpack_started):
        with pytest.raises(WireError):
            unpack(bomb)


DETAILS = st.builds(
    tasks.Detail,
    SECONDS,
    COUNTS,
    COUNTS,
    st.lists(st.tuples(TEXTS, st.none() | st.booleans() | COUNTS | TEXTS | SECONDS), max_size=5).map(tuple),
    st.binary(max_size=20),
)
TASKS = st.builds(
    tasks.Task, IDS, TOKENS, st.integers(1, limits.DISPATCH_MAX), IDS, st.binary(max_size=100), st.none() | DETAILS
)
OUTCOMES = st.builds(
    tasks.Outcome,
    IDS,
    st.integers(1, limits.DISPATCH_MAX),
    st.sampled_from(tasks.OutcomeKind).map(int),
    st.integers(0, 0xFFFF),
    TEXTS,
    SECONDS,
    SECONDS,
    SECONDS,
    SECONDS,
    COUNTS,
    st.binary(max_size=20),
    st.binary(max_size=20),
    st.binary(max_size=20),
)

SUCCESSES = st.builds(
    tasks.Outcome,
    IDS,
    st.integers(1, limits.DISPATCH_MAX),
    st.just(int(tasks.OutcomeKind.FINISHED)),
    st.just(0),
    st.just(""),
    SECONDS,
    SECONDS,
    SECONDS,
    SECONDS,
    COUNTS,
    st.just(b""),
    st.just(b""),
    st.just(b""),
)
"""Of which only numbers travel."""


@given(st.binary(max_size=50), st.lists(TASKS, max_size=10))
def test_a_bundle_goes_there_and_back(cwd: bytes, items: list[tasks.Task]) -> None:
    """Commands are bytes: not every one is UTF-8."""
    assert tasks.unpack_bundle(tasks.pack_bundle(tasks.Bundle(cwd, items))) == tasks.Bundle(cwd, items)


@given(st.lists(OUTCOMES | SUCCESSES, max_size=10))
def test_outcomes_go_there_and_back(items: list[tasks.Outcome]) -> None:
    """Nothing of a result is lost on its way."""
    assert list(outcomes.unpack_outcomes(outcomes.pack_outcomes(items))) == items


@given(st.lists(SUCCESSES, min_size=1, max_size=10))
def test_successes_alone_stay_columns_of_numbers(items: list[tasks.Outcome]) -> None:
    """So that the usual Result is never taken apart; whoever wants one of them gets it."""
    found = outcomes.unpack_outcomes(outcomes.pack_outcomes(items))

    assert isinstance(found, outcomes.Successes)
    assert found.rows == tuple(item.row for item in items)
    assert (found[-1], found[:1], len(found)) == (items[-1], items[:1], len(items))


@given(OUTCOMES | SUCCESSES)
def test_row_and_dispatch_can_be_read_of_an_outcome_by_itself(item: tasks.Outcome) -> None:
    """The guardian asks whether what ran had ended."""
    assert outcomes.key_of(outcomes.pack_outcome(item)) == (item.row, item.dispatch)


@given(st.lists(st.builds(tasks.Started, IDS, st.integers(1, limits.DISPATCH_MAX), SECONDS), max_size=10))
def test_started_tasks_go_there_and_back(items: list[tasks.Started]) -> None:
    """Likewise."""
    assert tasks.unpack_started(tasks.pack_started(items)) == items


@given(st.lists(OUTCOMES | SUCCESSES, min_size=1, max_size=3), st.data())
def test_a_changed_byte_in_a_body_raises_nothing_but_a_wire_error(
    items: list[tasks.Outcome], data: st.DataObject
) -> None:
    """The scheduler opens what a worker packed."""
    body = bytearray(outcomes.pack_outcomes(items))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        changed = outcomes.unpack_outcomes(bytes(body))
    except WireError:
        return
    assert all(0 < outcome.row <= limits.ID_MAX and outcome.dispatch > 0 for outcome in changed)


@pytest.mark.parametrize(
    ("unpack", "body"),
    [
        (tasks.unpack_bundle, [b"/", [[1, bytes(16), 1, 1, b"true", []]]]),  # a detail without fields
        (tasks.unpack_bundle, [b"/", [[1, bytes(16), 1, 1, b"true"]]]),
        (outcomes.unpack_outcomes, [[1, 1, 0, 0, "", 0.0, 0.0, 0.0, 0.0, 0, b"", b""]]),
        (outcomes.unpack_outcomes, [[1, 1, 0, 0, "", 0.0, 0.0, 0.0, 0.0, 0, b"", b"", b"", b""]]),
        (outcomes.unpack_outcomes, ["thirteen long"]),
        (outcomes.unpack_outcomes, [bytes([1] * 55)]),
        (outcomes.unpack_outcomes, [bytes([1] * 57), bytes([1] * 55)]),
        (outcomes.unpack_outcomes, [bytes([1] * 56), 56]),
    ],
)
def test_a_body_with_too_few_or_too_many_fields_is_refused(unpack: Any, body: list[Any]) -> None:
    """Nothing behind it counts them again."""
    with pytest.raises(WireError):
        unpack(_packed(body))


@pytest.mark.parametrize(
    ("row", "dispatch", "memory_max"),
    [(0, 1, 0), (limits.ID_MAX + 1, 1, 0), (1, 0, 0), (1, limits.DISPATCH_MAX + 1, 0), (1, 1, limits.ID_MAX + 1)],
)
def test_a_success_out_of_bounds_is_refused(row: int, dispatch: int, memory_max: int) -> None:
    """It is beside a good one, as what is by itself."""
    good, bad = (
        tasks.Outcome(*key, 0, 0, "", 1.0, 1.0, 1.0, 1.0, memory, b"", b"", b"")
        for key, memory in (((1, 1), 1), ((row, dispatch), memory_max))
    )
    for items in ([bad], [good, bad], [bad, good._replace(status=1)]):
        with pytest.raises(WireError, match="is not in"):
            outcomes.unpack_outcomes(outcomes.pack_outcomes(items))


@pytest.mark.parametrize("field", ["start", "duration", "cpu_user", "cpu_system"])
@pytest.mark.parametrize("value", [nan, inf])
def test_an_outcome_with_a_time_that_is_no_number_is_refused(field: str, value: float) -> None:
    """Nobody could look at the task any more."""
    good = tasks.Outcome(1, 1, 0, 0, "", 1.0, 1.0, 1.0, 1.0, 0, b"", b"", b"")
    bad = good._replace(**{field: value})  # type: ignore[arg-type] # of these fields
    for items in ([bad], [good, bad], [bad, good._replace(status=1)]):
        with pytest.raises(WireError):
            outcomes.unpack_outcomes(outcomes.pack_outcomes(items))


@pytest.mark.parametrize(
    "started",
    [
        (0, 1, 1.0),
        (limits.ID_MAX + 1, 1, 1.0),
        (1, 0, 1.0),
        (1, limits.DISPATCH_MAX + 1, 1.0),
        (1, 1, nan),
        (1, 1, -1.0),
        (1, 1, limits.INSTANT_MAX + 1),
    ],
)
def test_a_started_task_out_of_bounds_is_refused(started: tuple[int, int, float]) -> None:
    """No database could hold it."""
    with pytest.raises(WireError, match="out of bounds"):
        tasks.unpack_started(_packed([started]))


@pytest.mark.parametrize("unpack", [tasks.unpack_bundle, outcomes.unpack_outcomes, tasks.unpack_started])
def test_random_bodies_raise_nothing_but_a_wire_error(unpack: Any) -> None:
    """Whatever a peer with a key sends."""

    @given(st.binary(max_size=200) | st.recursive(st.integers() | st.binary() | st.text(), st.lists).map(_packed))
    def refused_or_valid(body: bytes) -> None:
        try:
            unpack(body)
        except WireError:
            return

    refused_or_valid()
    with pytest.raises(WireError):
        unpack(os.urandom(64) + b"\xc1")


def _packed(value: Any) -> bytes:
    try:
        return bytes(msgpack.packb(value))
    except (ValueError, OverflowError):  # an integer beyond 64 bits
        return b""


def _frame(message: type[Message], values: Any) -> bytes:
    """Return a frame with these values for a header, whatever they are."""
    code = next(code for code, known in TYPE_OF.items() if known is message)
    try:
        header = bytes(msgpack.packb(values))
    except (ValueError, OverflowError):
        header = b"\xc1"
    return bytes([VERSION, code]) + len(header).to_bytes(4) + header
