"""A proof is replayed to the same bytes, and what was done to one is said, entry by entry."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pyarrow.parquet
import pytest

from flowwatch.demo.server import DemoServer
from flowwatch.demo.story import policy_text
from flowwatch.proofs.archive import MANIFEST, pack
from tests.command import ROOT, one_line
from tests.in_process import flowwatch

LAB = ROOT / "tests" / "data" / "kernel-lab" / "steady"
Entries = dict[str, bytes]


def made(path: Path, *words: str | Path) -> str:
    """Make a proof; the result that was said."""
    done = flowwatch("proof", "-o", path, *words)
    assert done.returncode == 0, done.stderr
    return done.stderr


def verified(path: Path, *words: str | Path) -> tuple[int, list[str], str]:
    """Exit code, lines without the name of the file, and what was said."""
    done = flowwatch("proof", "verify", path, *words)
    return done.returncode, done.stdout.replace(f"{path}: ", "").splitlines(), done.stderr


def recorded(folder: Path, *source: str | Path) -> Path:
    done = flowwatch("record", "--to", folder, *source)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of the kernel's."""
    folder = tmp_path_factory.mktemp("kernel") / "kept"
    return recorded(folder, "--input-file", LAB / "flows.jsonl.gz")


@pytest.fixture(scope="module")
def proof(kept: Path) -> Path:
    """A proof of it, with the flows in it."""
    path = kept.parent / "proof.zip"
    made(path, "-f", LAB / "policy.yaml", "--history", kept, "--with-flows")
    return path


def entries_of(path: Path) -> Entries:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path: Path, entries: Entries) -> Path:
    with path.open("wb") as out:
        pack(dict(entries), out)
    return path


def forged(entries: Entries) -> Entries:
    """With a manifest that says what the entries are now."""
    manifest = json.loads(entries[MANIFEST])
    manifest["entries"] = {
        name: {"bytes": len(content), "sha256": sha256(content).hexdigest()}
        for name, content in sorted(entries.items())
        if name != MANIFEST
    }
    return entries | {MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode()}


def test_the_demo_s_recording_is_replayed(tmp_path: Path) -> None:
    policy = tmp_path / "weather.yaml"
    policy.write_text(policy_text(), "utf-8")
    with DemoServer("127.0.0.1:0", live=False) as server:
        kept = recorded(tmp_path / "kept", "--server", server.address, "--all")
        # Before it was applied: then there is something to find.
        judged = ("-f", policy, "--applied-at", "2020-01-01")
        live = flowwatch("audit", *judged, "--server", server.address, "-o", "json", "--all")
    words = (*judged, "--history", kept)
    said = made(tmp_path / "a.zip", *words)
    made(tmp_path / "b.zip", *words)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert "findings" in said
    found = json.loads(entries_of(tmp_path / "a.zip")["audit.json"])
    audited = json.loads(live.stdout)
    files = len(json.loads(entries_of(tmp_path / "a.zip")["files.json"])["files"])
    assert found["counts"] == audited["counts"]
    assert len(found["findings"]) == len(audited["findings"]) > 5
    code, lines, _ = verified(tmp_path / "a.zip", "--history", kept)
    assert (code, lines[2:]) == (
        0,
        [
            f"replayed from {kept}: {found['evidence']['records']:,} records, all is equal",
            f"of its {files} files {files} lie there unchanged",
        ],
    )


def test_a_kernel_s_recording_is_replayed_from_the_flows_within(proof: Path, kept: Path) -> None:
    code, lines, said = verified(proof)
    assert (code, said) == (0, "")
    assert lines[1] == f"sha256 {sha256(proof.read_bytes()).hexdigest()}"
    assert lines[2] == "replayed from its own flows: 101 records, all is equal"
    again = proof.with_name("again.zip")
    made(again, "-f", LAB / "policy.yaml", "--history", kept, "--with-flows")
    assert again.read_bytes() == proof.read_bytes()


@pytest.mark.parametrize("within", [(), ("--with-flows",)])
@pytest.mark.parametrize(
    "asked",
    [
        ["-n", "weather"],
        ["--not", "--protocol", "udp", "--last", "30"],
        ["--since", "2026-02-03T10:00:03Z", "--until", "2026-02-03T10:00:20Z"],
        ["--first", "7", "--applied-at", "2026-02-03T10:00:05Z"],
    ],
)
def test_filters_and_window_are_those_of_the_proof(
    asked: list[str], within: tuple[str, ...], kept: Path, tmp_path: Path
) -> None:
    path = tmp_path / "proof.zip"
    made(path, "-f", LAB / "policy.yaml", "--history", kept, *asked, *within)
    code, lines, said = verified(path, "--history", kept)
    assert (code, said) == (0, ""), lines
    assert len(lines) == 4 + len(within)


def test_what_a_history_becomes_later_changes_nothing(kept: Path, tmp_path: Path) -> None:
    """It is merged, and goes on."""
    grown = recorded(tmp_path / "grown", "--input-file", LAB / "flows.jsonl.gz", "--first", "40")
    path = tmp_path / "proof.zip"
    made(path, "-f", LAB / "policy.yaml", "--history", grown)
    recorded(grown, "--input-file", LAB / "flows.jsonl.gz", "--last", "20")
    assert flowwatch("history", "compact", grown).returncode == 0
    code, lines, _ = verified(path, "--history", grown)
    assert code == 0, lines
    assert lines[2] == f"replayed from {grown}: 40 records, all is equal"
    assert lines[3].startswith("of its ")
    assert "lie there unchanged" in lines[3]


def test_a_history_that_lost_a_record_is_told_by_the_hour(kept: Path, tmp_path: Path) -> None:
    path = tmp_path / "proof.zip"
    made(path, "-f", LAB / "policy.yaml", "--history", kept)
    less = recorded(tmp_path / "less", "--input-file", LAB / "flows.jsonl.gz", "--last", "100")
    code, lines, _ = verified(path, "--history", less)
    assert code == 1
    name = f"replayed from {less}: "
    assert f"{name}digests.json: hour 2026-02-03T10: 101 records, the replay has 100" in lines
    assert any(line.startswith(f"{name}audit.json differs from line ") for line in lines)


def test_a_capture_is_proven_too(tmp_path: Path) -> None:
    path = tmp_path / "proof.zip"
    made(path, "-f", LAB / "policy.yaml", "--input-file", LAB / "flows.jsonl.gz")
    assert verified(path, "--input-file", LAB / "flows.jsonl.gz")[0] == 0
    code, lines, said = verified(path)
    assert (code, len(lines)) == (3, 2)
    assert (
        said
        == "flowwatch: not replayed, as it holds no flows: give --history DIR, or --input-file\n"
    )


def test_a_folder_of_captures_is_proven_too(tmp_path: Path) -> None:
    lines = gzip.decompress((LAB / "flows.jsonl.gz").read_bytes()).splitlines(keepends=True)
    folder, path = tmp_path / "node-1", tmp_path / "proof.zip"
    folder.mkdir()
    (folder / "events-2026-11-28T10-00-00.000.log.gz").write_bytes(
        gzip.compress(b"".join(lines[:50]))
    )
    (folder / "events.log").write_bytes(b"".join(lines[50:]))
    made(path, "-f", LAB / "policy.yaml", "--input-file", folder)
    assert verified(path, "--input-file", folder)[0] == 0
    files = json.loads(entries_of(path)["files.json"])["files"]
    assert [one["path"] for one in files] == [
        "node-1/events-2026-11-28T10-00-00.000.log.gz", "node-1/events.log"
    ]  # fmt: skip
    assert files[1]["sha256"] == sha256((folder / "events.log").read_bytes()).hexdigest()


def test_it_holds_what_was_judged(proof: Path) -> None:
    found = entries_of(proof)
    assert found["policies/0001-policy.yaml"] == (LAB / "policy.yaml").read_bytes()
    report = json.loads(found["audit.json"])
    assert {use["file"] for use in report["policies"]} == {"policies/0001-policy.yaml"}
    assert json.loads(found["coverage.json"])["records_read"] == 101
    assert not any(b"uuid" in content for name, content in found.items() if "flows/" not in name)


def test_a_digest_can_be_made_by_hand(kept: Path, proof: Path) -> None:
    """As docs/proof.md says, from the Parquet files alone."""
    page = (ROOT / "docs" / "proof.md").read_text("utf-8")
    arrays = [
        re.findall(r"`(\w+)`", line.split("|")[2])
        for line in page[page.index("## A digest by hand") :].splitlines()
        if line.startswith("| ") and "`" in line
    ]
    [file] = (kept / "flows").rglob("*.parquet")
    digest = sha256()
    table = pyarrow.parquet.read_table(file, partitioning=None)
    times = table.column("time").cast("int64").to_pylist()
    for time, row in zip(times, table.drop(["time", "recorded"]).to_pylist(), strict=True):
        row["policies"] = [list(one.values()) for one in row["policies"]]
        row["http_headers"] = [list(one.values()) for one in row["http_headers"] or []]
        values = [[row[name] for name in names] for names in arrays[:4]]
        uuid = row["uuid_text"] or str(UUID(bytes=row["uuid"]))
        varies = [time, *[row[name] for name in arrays[4]], uuid]
        there = (True, True, row["l7_type"] is not None, row["policy_log"] is not None)
        whole = [value if one else None for one, value in zip(there, values, strict=True)]
        line = "".join(
            json.dumps(one, separators=(",", ":"), ensure_ascii=False) for one in [*whole, varies]
        )
        digest.update(f"{line}\n".encode())
    [hour] = json.loads(entries_of(proof)["digests.json"])["hours"]
    assert (hour["hour"], hour["records"]) == ("2026-02-03T10", 101)
    assert hour["sha256"] == digest.hexdigest()


# What was done to one -----------------------------------------------------------------------------


def changed(name: str, old: bytes, new: bytes) -> Callable[[Entries], Entries]:
    def change(entries: Entries) -> Entries:
        assert old in entries[name]
        return entries | {name: entries[name].replace(old, new, 1)}

    return change


AUDIT = changed("audit.json", b"as expected", b"as EXPECTED")
POLICY = changed("policies/0001-policy.yaml", b"weather", b"WEATHER")


def without(name: str) -> Callable[[Entries], Entries]:
    return lambda entries: {one: content for one, content in entries.items() if one != name}


def flipped(entries: Entries) -> Entries:
    [name] = [one for one in entries if one.endswith(".parquet") and "flows/flows" in one]
    content = bytearray(entries[name])
    content[len(content) // 2] ^= 4
    return entries | {name: bytes(content)}


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (AUDIT, "audit.json was changed"),
        (POLICY, "policies/0001-policy.yaml was changed"),
        (flipped, "flows/flows/cluster=hand/date=2026-02-03/hour=10/proof-000000.parquet was changed"),
        (without("audit.txt"), "audit.txt is missing"),
        (without("flows/history.json"), "flows/history.json is missing"),
        (lambda entries: entries | {"more.txt": b"more"}, "more.txt was added"),
        (changed(MANIFEST, b'"records": 101', b'"records": 102'), "manifest.json differs from line"),
    ],
)  # fmt: skip
def test_an_entry_that_was_touched_is_named(
    done: Callable[[Entries], Entries], said: str, proof: Path, tmp_path: Path
) -> None:
    path = packed(tmp_path / "touched.zip", done(entries_of(proof)))
    code, lines, _ = verified(path)
    assert code == 1
    assert said in lines[-1]


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (AUDIT, "audit.json differs from line "),
        (POLICY, "audit.json differs from line "),
        (changed("audit.txt", b"AS EXPECTED", b"LEAKS"), "audit.txt differs from line "),
        (changed("coverage.json", b'"lost_events": 0', b'"lost_events": 7'), "coverage.json differs from"),
        (changed("digests.json", b'"sha256": "', b'"sha256": "0'), "digests.json"),
        (changed("digests.json", b'"records": 101', b'"records": 99'), "digests.json"),
        (without("flows/history.json"), "is no history"),
        (flipped, "digests.json: hour 2026-02-03T10: 101 records, the replay has 0"),
    ],
)  # fmt: skip
def test_one_with_a_manifest_to_match_is_found_by_the_replay(
    done: Callable[[Entries], Entries], said: str, proof: Path, tmp_path: Path
) -> None:
    touched = done(entries_of(proof))
    path = packed(tmp_path / "forged.zip", forged(touched))
    code, lines, err = verified(path)
    assert code in (1, 2)
    assert said in "\n".join([*lines, err])


def test_bytes_that_no_entry_has_are_found(proof: Path, tmp_path: Path) -> None:
    path = tmp_path / "more.zip"
    content = proof.read_bytes()
    with zipfile.ZipFile(proof) as archive:
        directory = archive.start_dir
    # Between the entries and their list, whose place is told anew.
    place = struct.pack("<L", directory + 5)
    path.write_bytes(content[:directory] + b"extra" + content[directory:-6] + place + content[-2:])
    assert zipfile.is_zipfile(path)
    code, lines, _ = verified(path)
    assert (code, len(lines)) == (1, 1)
    assert "packed otherwise, or holds more bytes" in lines[0]


def zipped(*names: str, compress: int = zipfile.ZIP_STORED, content: bytes = b"x") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compress) as archive:
        for name in names:
            archive.writestr(name, content)
    return out.getvalue()


def encrypted() -> bytes:
    content = bytearray(zipped("audit.json", MANIFEST))
    for place in range(len(content) - 4):
        if content[place : place + 4] == b"PK\1\2":
            content[place + 8] |= 1
    return bytes(content)


def link() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        about = zipfile.ZipInfo("flows/history.json")
        about.external_attr = 0o120777 << 16
        archive.writestr(about, "/etc/passwd")
    return out.getvalue()


def twice() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return zipped(MANIFEST, MANIFEST)


def larger() -> bytes:
    """The list of entries claims more than the file has."""
    content = bytearray(zipped(MANIFEST))
    place = content.index(b"PK\1\2")
    content[place + 20 : place + 28] = struct.pack("<LL", 1 << 31, 1 << 31)
    return bytes(content)


def long_list() -> bytes:
    content = bytearray(zipped(MANIFEST))
    content[-10:-6] = struct.pack("<L", 1 << 30)
    return bytes(content)


def manifest(text: bytes) -> bytes:
    return zipped(MANIFEST, content=text)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no zip": (lambda: b"nothing", "is no proof: it is no zip, or was cut off"),
    "empty": (lambda: b"", "is no proof: it is no zip, or was cut off"),
    "cut off": (lambda: zipped(MANIFEST)[:-30], "is no proof: it is no zip, or was cut off"),
    "a comment": (lambda: zipped(MANIFEST)[:-2] + b"\2\0hi", "or something stands behind it"),
    "out of the folder": (lambda: zipped("../evil", MANIFEST), "../evil has a name that no entry has"),
    "from the root": (lambda: zipped("/etc/passwd"), "/etc/passwd has a name that no entry has"),
    "within flows": (lambda: zipped("flows/../../evil"), "has a name that no entry has"),
    "another system's": (lambda: zipped("flows\\evil"), "has a name that no entry has"),
    "a folder": (lambda: zipped("flows/"), "has a name that no entry has"),
    "controls": (lambda: zipped("a\x1b[2Jb"), r"a\x1b[2Jb has a name that no entry has"),
    "a long name": (lambda: zipped("a" * 5_000), "has a name that no entry has"),
    "a name twice": (twice, "manifest.json is there twice"),
    "a name in capitals too": (lambda: zipped("a", "A"), "A is there twice"),
    "a bomb": (lambda: zipped(MANIFEST, compress=zipfile.ZIP_DEFLATED, content=bytes(10**6)),
               "is compressed: it was packed again"),
    "encrypted": (encrypted, "is encrypted"),
    "a link": (link, "flows/history.json is no regular file"),
    "larger than it is": (larger, "claim to be larger"),
    "a long list": (long_list, "its list of entries is too long"),
    "many entries": (lambda: zipped(*(f"flows/{number}" for number in range(50_001))), "50,001 entries"),
    "no manifest": (lambda: zipped("audit.json"), "it has no manifest.json"),
    "no JSON": (lambda: manifest(b"{"), "its manifest.json can't be read"),
    "deep": (lambda: manifest(b"[" * 200_000), "its manifest.json can't be read"),
    "another shape": (lambda: manifest(b'{"flowwatch_proof": 1}'), "its manifest.json can't be read"),
    "newer": (lambda: manifest(b'{"flowwatch_proof": 2, "x": 1}'),
              "was made by a newer flowwatch (format 2, this one knows 1): update flowwatch"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_proof_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    make, said = HOSTILE[kind]
    path = tmp_path / "hostile.zip"
    path.write_bytes(make())
    done = flowwatch("proof", "verify", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in one_line(done)
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["proof", "--history", "KEPT"], "nothing says where to write the proof"),
        (["proof", "-o", "x.zip"], "a proof is of flows that are kept"),
        (["proof", "-o", "x.zip", "--history", "NONE"], "is no history"),
        (["proof", "-o", "x.zip", "--history", "KEPT", "--follow"], "cannot follow a history"),
        (["proof", "-o", "x.zip", "--history", "KEPT", "-f", "NONE"], "cannot read"),
        (["proof", "verify"], "is about one file"),
        (["proof", "verify", "NONE"], "cannot read"),
        (["proof", "verify", "a", "--history", "b", "--input-file", "c"], "cannot set both"),
    ],
)
def test_bad_input_is_one_line(words: list[str], said: str, kept: Path, tmp_path: Path) -> None:
    names = {"KEPT": kept, "NONE": tmp_path / "none"}
    done = flowwatch(*[names.get(word, word) for word in words])
    assert (done.returncode, done.stdout) == (2, "")
    assert said in one_line(done)


def test_a_policy_that_the_cluster_would_refuse_is_named_as_the_user_did(
    kept: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "bad.yaml"
    policy.write_text("apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a}\n")
    done = flowwatch("proof", "-f", policy, "--history", kept, "-o", tmp_path / "x.zip")
    assert done.returncode == 2
    assert done.stderr.startswith(f"flowwatch: {policy}:")
    assert not (tmp_path / "x.zip").exists()


def test_a_proof_of_nothing_is_no_proof(tmp_path: Path) -> None:
    policy = tmp_path / "weather.yaml"
    policy.write_text(policy_text(), "utf-8")
    said = made(tmp_path / "a.zip", "-f", policy, "--input-file", "-")
    assert said.startswith("flowwatch: 0 records: no evidence; ")
