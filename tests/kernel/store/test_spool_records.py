"""The bytes of a spool: whole records come back, damage costs what lies on it and is told."""

from hypothesis import given
from hypothesis import strategies as st

from kernel.store.spool_records import MARK, read_records, record

PAYLOADS = st.lists(
    st.one_of(st.binary(max_size=40), st.just(b"a" + MARK * 3), st.just(record(9, b"inner"))),
    min_size=1,
    max_size=6,
)


def spool(payloads: list[bytes]) -> tuple[bytes, list[int]]:
    """The bytes of a file and where its records end."""
    data, ends = b"", []
    for seq, payload in enumerate(payloads, start=1):
        data += record(seq, payload)
        ends.append(len(data))
    return data, ends


@given(PAYLOADS)
def test_what_was_written_is_read(payloads):
    contents = read_records(spool(payloads)[0])
    assert [one.payload for one in contents.records] == payloads
    assert [one.seq for one in contents.records] == list(range(1, len(payloads) + 1))
    assert contents.damage == ()


@given(PAYLOADS, st.data())
def test_a_torn_tail_is_cut_at_the_last_whole_record_and_told(payloads, data):
    whole, ends = spool(payloads)
    cut = data.draw(st.integers(0, len(whole)))
    contents = read_records(whole[:cut])
    kept = [end for end in ends if end <= cut]
    assert [one.payload for one in contents.records][: len(kept)] == payloads[: len(kept)]
    torn = cut - (kept[-1] if kept else 0)
    inner = [one for one in contents.records[len(kept) :] if one.payload != b"inner"]
    assert not inner
    assert bool(contents.damage) == bool(torn)


@given(PAYLOADS, st.data())
def test_a_flipped_bit_costs_its_record_alone_and_is_told(payloads, data):
    whole, ends = spool(payloads)
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    broken = bytearray(whole)
    broken[bit // 8] ^= 1 << bit % 8
    hit = sum(end <= bit // 8 for end in ends)
    contents = read_records(bytes(broken))
    found = [one for one in contents.records if one.payload != b"inner"]
    expected = payloads[:hit] + payloads[hit + 1 :]
    assert [one.payload for one in found] == [one for one in expected if one != b"inner"]
    assert contents.damage
