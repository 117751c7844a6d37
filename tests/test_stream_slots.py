"""Places of workers in their group: no two processes of a machine have the same."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys

import pytest

from realbogus.errors import StreamError
from realbogus.stream.slots import place_in

HOST = socket.gethostname()


@pytest.mark.parametrize(
    ("options", "name", "kept"),
    [
        ({"slot": 3}, f"{HOST}-3", True),
        ({"slot": 3, "lasting": False}, f"{HOST}-3", False),
        ({"slot": 3, "instance": "north"}, "north-3", True),
        ({"slot": 3, "instance": "north", "lasting": False}, "north-3", True),
        ({"instance": "north"}, "north", True),
        ({}, f"{HOST}-single-0", False),
    ],
)
def test_a_place_has_its_name_and_is_kept_where_somebody_comes_back_to_it(tmp_path, options, name, kept):
    with place_in("g", folder=tmp_path, **options) as place:
        assert (place.name, place.kept) == (name, kept)
        assert place.transactional_id == f"rb-g-{name}"


def test_a_place_is_had_once_and_free_again_afterwards(tmp_path):
    with (
        place_in("g", slot=0, folder=tmp_path),
        pytest.raises(StreamError, match="another worker of group g has the place") as caught,
        place_in("g", slot=0, folder=tmp_path),
    ):
        pass
    assert caught.value.exit_code == 3
    with place_in("g", slot=0, folder=tmp_path), place_in("g", slot=1, folder=tmp_path):
        pass


def test_workers_on_their_own_take_the_first_place_that_is_free(tmp_path):
    with place_in("g", folder=tmp_path) as first, place_in("g", folder=tmp_path) as second:
        assert (first.name, second.name) == (f"{HOST}-single-0", f"{HOST}-single-1")


def test_groups_do_not_get_in_each_others_way_whatever_they_are_called(tmp_path):
    with place_in("a/../b", slot=0, folder=tmp_path), place_in("c", slot=0, folder=tmp_path):
        assert len(list(tmp_path.iterdir())) == 2


def test_groups_of_the_same_name_on_different_brokers_are_two(tmp_path):
    with (
        place_in("g", cluster="a:9092", slot=0, folder=tmp_path),
        place_in("g", cluster="b:9092", slot=0, folder=tmp_path),
    ):
        assert len(list(tmp_path.iterdir())) == 2


def test_the_folder_of_locks_is_ours_alone(tmp_path):
    with place_in("g", folder=tmp_path / "locks"):
        assert stat.S_IMODE((tmp_path / "locks").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StreamError, match="TMPDIR"), place_in("g", folder=tmp_path / "file"):
        pass


def test_a_process_that_is_killed_leaves_its_place(tmp_path):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom realbogus.stream.slots import place_in\n"
        f"with place_in('g', slot=0, folder=Path({str(tmp_path)!r})):\n    print('mine', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "mine\n"
    with pytest.raises(StreamError), place_in("g", slot=0, folder=tmp_path):
        pass
    process.kill()
    process.communicate()
    with place_in("g", slot=0, folder=tmp_path):
        pass
