"""Files that are there whole or not at all, and what was there before."""

import errno
import os

import pytest

from sk_cpep._whole_file import remove_stale_drafts, replace_file


def no_links(source, target):
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.fixture
def paths(tmp_path):
    path, previous = tmp_path / "current", tmp_path / "previous"
    for data in (b"1", b"2"):
        replace_file(path, data, previous)
    return path, previous


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("links", [True, False])
def test_the_earlier_file_is_kept(links, paths, monkeypatch):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path, previous = paths
    for data in (b"3", b"4"):
        replace_file(path, data, previous)
    assert contents(path.parent) == {"current": b"4", "previous": b"3"}
    replace_file(path, b"5")
    assert contents(path.parent) == {"current": b"5", "previous": b"3"}


def test_there_is_a_current_file_all_the_while(paths, monkeypatch):
    path, previous = paths
    seen = []

    def looked_at(name, call):
        def look(*args):
            seen.append((name, path.read_bytes()))
            result = call(*args)
            seen.append((name, path.read_bytes()))
            return result

        return look

    for name in ("link", "replace", "unlink"):
        monkeypatch.setattr(os, name, looked_at(name, getattr(os, name)))
    replace_file(path, b"3", previous)
    assert [name for name, _ in seen].count("replace") == 4  # before and after
    assert {content for _, content in seen} == {b"2", b"3"}


@pytest.mark.parametrize("moment", range(4))
def test_what_a_kill_leaves_does_not_matter(moment, paths, monkeypatch):
    """Before each of the calls that change a name; the next one goes through."""

    class Killed(BaseException):
        pass

    path, previous = paths
    left = [moment]

    def counted(call):
        def killed_at_last(*args):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return call(*args)

        return killed_at_last

    with monkeypatch.context() as patch, pytest.raises(Killed):
        for name in ("link", "replace", "fsync"):
            patch.setattr(os, name, counted(getattr(os, name)))
        replace_file(path, b"3", previous)
    assert path.read_bytes() == b"2"
    assert previous.read_bytes() in (b"1", b"2")
    replace_file(path, b"4", previous)
    expected = {"current": b"4", "previous": b"2"}
    drafts = [p for p in path.parent.iterdir() if p.name not in expected]
    assert all(draft.suffix == ".tmp" for draft in drafts)
    remove_stale_drafts(path.parent)
    assert all(draft.exists() for draft in drafts)  # another process may be writing
    for draft in drafts:
        os.utime(draft, (0, 0))
    remove_stale_drafts(path.parent)
    assert contents(path.parent) == expected


@pytest.mark.parametrize("n_done", [0, 1])
def test_a_full_disk_leaves_nothing_half_made(n_done, paths, monkeypatch):
    path, previous = paths
    before, left, replace = contents(path.parent), [n_done], os.replace

    def fill_up(source, target):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "replace", fill_up)
        replace_file(path, b"3", previous)
    after = contents(path.parent)
    assert after == (before | {"previous": b"2"} if n_done else before)
