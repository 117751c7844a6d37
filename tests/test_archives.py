"""Packets come out of folders, globs and tars whole, in order, and without trust."""

from __future__ import annotations

import io
import lzma
import os
import tarfile
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from realbogus import archives
from realbogus.errors import ConfigError, Reason
from realbogus.limits import Limits

LIMITS = Limits()
PACKETS = {f"night/{candid}.avro": bytes([candid]) * (700 + candid) for candid in (1, 2, 3)}
TARS = {".tar": "w:", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz", ".tar.bz2": "w:bz2"}


def tar_of(file: Path, members: Mapping[str, bytes], mode: str = "w:") -> Path:
    with tarfile.open(file, mode) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file


def folder_of(folder: Path, members: Mapping[str, bytes]) -> Path:
    for name, data in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def found_in(*paths: Path, limits: Limits = LIMITS) -> list[archives.Found]:
    return list(archives.find(paths, limits))


@pytest.mark.parametrize("ending", TARS)
def test_a_tar_gives_its_packets_in_order(tmp_path: Path, ending: str) -> None:
    night = tar_of(tmp_path / f"night{ending}", PACKETS, TARS[ending])
    assert list(archives.messages([night])) == [(f"{night}::{name}", data) for name, data in PACKETS.items()]


def test_a_folder_gives_its_packets_sorted_and_the_tars_inside_it(tmp_path: Path) -> None:
    folder_of(tmp_path, {"b/2.avro": b"two", "b/1.avro": b"one", "a/notes.txt": b"none of it", "z.avro": b"zed"})
    tar_of(tmp_path / "b" / "3.tar.gz", {"4.avro": b"four"}, "w:gz")
    names = {path.removeprefix(f"{tmp_path}/"): data for path, data in archives.messages([tmp_path])}
    assert names == {"z.avro": b"zed", "b/1.avro": b"one", "b/2.avro": b"two", "b/3.tar.gz::4.avro": b"four"}
    assert list(names) == ["z.avro", "b/1.avro", "b/2.avro", "b/3.tar.gz::4.avro"]


def test_a_glob_and_a_single_file_of_any_ending_are_taken_once(tmp_path: Path) -> None:
    folder_of(tmp_path, {"1.bin": b"one", "2.bin": b"two"})
    given = [tmp_path / "2.bin", f"{tmp_path}/*.bin"]
    assert [data for _, data in archives.messages(given)] == [b"two", b"one"]


def test_every_path_that_names_nothing_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.tar: no such (.|\n)*\*\.nothing: no such"):
        archives.expand([f"{tmp_path}/absent.tar", tmp_path, f"{tmp_path}/*.nothing"])


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_an_oversize_member_is_refused_unread_and_the_others_go_on(tmp_path: Path, ending: str) -> None:
    big = {**PACKETS, "night/big.avro": bytes(LIMITS.message_bytes + 1), "night/last.avro": b"last"}
    found = found_in(tar_of(tmp_path / f"night{ending}", big, TARS[ending]))
    assert [one.reason for one in found] == [None, None, None, Reason.OVERSIZE, None]
    assert found[3].data is None
    assert str(LIMITS.message_bytes) in found[3].detail


def test_an_oversize_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big.avro").write_bytes(bytes(LIMITS.message_bytes + 1))
    assert [one.reason for one in found_in(tmp_path)] == [Reason.OVERSIZE]


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_a_container_of_many_records_may_be_larger_than_a_message(tmp_path: Path, ending: str) -> None:
    many = archives.CONTAINER + bytes(LIMITS.message_bytes)
    (tmp_path / "many.avro").write_bytes(many)
    tar_of(tmp_path / f"night{ending}", {"many.avro": many}, TARS[ending])
    assert [data for _, data in archives.messages([tmp_path])] == [many, many]


def test_links_devices_and_other_files_inside_a_tar_are_passed_over(tmp_path: Path) -> None:
    night = tmp_path / "night.tar"
    with tarfile.open(night, "w") as tar:
        for name, kind in (("a", tarfile.SYMTYPE), ("b", tarfile.LNKTYPE), ("c", tarfile.FIFOTYPE)):
            link = tarfile.TarInfo(f"{name}.avro")
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
        for name, data in (("README", b"words"), ("../../up.avro", b"up")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    assert list(archives.messages([night])) == [(f"{night}::../../up.avro", b"up")]
    assert os.listdir(tmp_path) == ["night.tar"]


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


@pytest.mark.parametrize("ending", TARS)
@pytest.mark.parametrize("harm", [cut, pytest.param(lambda data: data[:-1024], id="tail")])
def test_a_torn_tar_gives_what_is_whole_and_says_that_it_is_torn(
    tmp_path: Path, ending: str, harm: Callable[[bytes], bytes]
) -> None:
    packets = {f"{number}.avro": os.urandom(3000) for number in range(9)}
    night = tar_of(tmp_path / f"night{ending}", packets, TARS[ending])
    night.write_bytes(harm(night.read_bytes()[:-9216] if ending == ".tar" else night.read_bytes()))
    found = found_in(night)
    whole = [one for one in found if one.reason is None and archives.read([one])[0] in packets.values()]
    assert found[-1].reason is Reason.MALFORMED
    assert found[-1].path == str(night)
    assert "damaged after" in found[-1].detail
    assert (len(whole) >= 3) or ending == ".tar.bz2"  # bzip2 gives nothing of a torn block of 900 kB


def test_a_damaged_header_in_the_middle_does_not_end_the_tar_in_silence(tmp_path: Path) -> None:
    night = tar_of(tmp_path / "night.tar", {"1.avro": b"one", "2.avro": b"two", "3.avro": b"three"})
    data = bytearray(night.read_bytes())
    data[1024 + 100] ^= 0xFF
    night.write_bytes(data)
    assert [one.reason for one in found_in(night)] == [None, Reason.MALFORMED]


def test_a_flipped_byte_in_a_compressed_tar_is_noticed(tmp_path: Path) -> None:
    night = tar_of(tmp_path / "night.tar.gz", {"1.avro": os.urandom(50_000)}, "w:gz")
    night.write_bytes(flip(night.read_bytes()))
    assert found_in(night)[-1].reason is Reason.MALFORMED


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b", b"no tar at all" * 99, lzma.compress(b"words")])
def test_a_file_that_is_no_tar_is_refused_with_its_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "night.tar.gz").write_bytes(data)
    found = found_in(tmp_path / "night.tar.gz")
    assert [(one.path, one.reason) for one in found] == [(f"{tmp_path}/night.tar.gz", Reason.MALFORMED)]


def test_a_tar_whose_header_claims_a_huge_name_is_refused_in_little_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    with lzma.open(tmp_path / "bomb.tar.xz", "wb") as file:
        file.write(header.tobuf())
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    found = found_in(tmp_path / "bomb.tar.xz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found[-1].reason is Reason.MALFORMED
    assert "claims 1073741824 bytes" in found[-1].detail
    assert peak < 32 << 20  # the dictionary of xz is 8 MiB; the claim is 1 GiB, the stream 64 MiB


def test_a_night_streams_in_little_memory(tmp_path: Path) -> None:
    night = tar_of(tmp_path / "night.tar.gz", {f"{n}.avro": bytes(100_000) for n in range(400)}, "w:gz")
    tracemalloc.start()
    count = sum(1 for _ in archives.messages([night]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 400
    assert peak < 4 << 20


def test_the_bytes_passed_add_up_to_the_size_of_the_input(tmp_path: Path) -> None:
    folder_of(tmp_path, PACKETS)
    tar_of(tmp_path / "a.tar.gz", PACKETS, "w:gz")
    tar_of(tmp_path / "b.tar", PACKETS)
    passed: list[int] = []
    list(archives.find([tmp_path], LIMITS, passed.append))
    assert sum(passed) == sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())


def test_what_cannot_be_read_goes_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "night.tar").write_bytes(b"no tar")
    refused: list[archives.Found] = []
    assert list(archives.messages([tmp_path], refused=refused.append)) == []
    assert [one.path for one in refused] == [f"{tmp_path}/night.tar"]


@pytest.mark.packets
def test_the_shared_archives_hold_what_their_folders_hold(real_packets: Path) -> None:
    shared = real_packets.parent.parent.parent / "shared" / "data"
    tarred = {path.split("::")[1]: data for path, data in archives.messages([shared / "damaged.tar.xz"])}
    folder = real_packets / "damaged"
    assert tarred == {f"damaged/{file.name}": file.read_bytes() for file in sorted(folder.iterdir())}
