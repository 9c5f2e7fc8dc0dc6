"""The command line: pack, and how it says what went wrong."""

import logging

import pytest

from sk_cpep import datasets
from sk_cpep._cli import main
from sk_cpep.datasets import (
    load_pack,
    pack_emg2pose,
    read_emg2pose_metadata,
    write_emg2pose_corpus,
)
from sk_cpep.preprocessing import BandpassNotch
from sk_cpep.training import LaunchError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Six recordings of about 1 s."""
    return write_emg2pose_corpus(
        tmp_path_factory.mktemp("corpus") / "emg2pose",
        3,
        stages=["ShakaVulcanPeace"],
        n_sessions=1,
        seconds=1.0,
        random_state=0,
    )


@pytest.fixture
def pack(corpus, tmp_path):
    """``python -m sk_cpep pack`` in this process."""
    return lambda *args: main(["pack", str(corpus), str(tmp_path / "out"), *args])


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_pack(corpus, pack, tmp_path, capsys):
    assert pack() == 0
    shown = capsys.readouterr()
    assert "out: 6 of 6 recordings, 0.00 hours" in shown.out
    assert "0 were there before" in shown.out
    assert "Packing: 100%" in shown.err
    pack_emg2pose(corpus, tmp_path / "same", filter=BandpassNotch(2, 250, 60))
    assert content(tmp_path / "out") == content(tmp_path / "same")

    assert pack("--quiet") == 0
    shown = capsys.readouterr()
    assert "6 were there before" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize(
    "args, band",
    [
        (["--band", "20", "450"], BandpassNotch(20, 450, 60)),
        (["--notch", "50", "100"], BandpassNotch(2, 250, (50, 100))),
        (["--notch"], BandpassNotch(2, 250, None)),
        (["--no-filter"], None),
    ],
)
def test_filter(corpus, pack, tmp_path, args, band):
    options = ["--emg-dtype", "float32", "--pose-rate", "100"]
    assert pack(*options, *args, "--quiet", "--no-verify") == 0
    pack_emg2pose(
        corpus, tmp_path / "same", filter=band, emg_dtype="float32", pose_rate=100
    )
    assert content(tmp_path / "out") == content(tmp_path / "same")


def test_recordings_left_out_are_listed(corpus, tmp_path, capsys):
    missing = read_emg2pose_metadata(corpus)["filename"][1]
    root = tmp_path / "part"
    root.mkdir()
    for path in corpus.iterdir():
        if path.stem != missing:
            (root / path.name).symlink_to(path)
    args = ["pack", str(root), str(tmp_path / "out"), "--quiet"]
    assert main(args) == 2
    assert capsys.readouterr().err.startswith(f"sk_cpep: row 1 of metadata.csv: {root}")
    assert main([*args, "--on-error", "skip"]) == 0
    shown = capsys.readouterr().out
    assert "5 of 6 recordings" in shown
    assert f"1 were left out:\n  row 1: {root}/{missing}.hdf5 does not exist" in shown
    assert len(load_pack(tmp_path / "out", size=500).metadata) == 5


@pytest.mark.parametrize(
    "args, message",
    [
        (["nowhere", "out"], "nowhere does not exist"),
        (["{corpus}", "{corpus}"], "and no pack"),
        (["{corpus}", "out", "--pose-rate", "300"], "pose_rate=300"),
        (["{corpus}", "out", "--band", "9", "5"], "low has to be below high"),
        (["{corpus}", "out", "--band", "9", "5000"], "Nyquist"),
    ],
)
def test_errors_are_one_line(corpus, tmp_path, monkeypatch, capsys, args, message):
    monkeypatch.chdir(tmp_path)
    assert main(["pack", "--quiet", *(a.format(corpus=corpus) for a in args)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("sk_cpep: ")
    assert len(shown.err.strip().splitlines()) == 1
    assert message in shown.err


def test_control_c(pack, monkeypatch, capsys):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "pack_emg2pose", interrupt)
    assert pack() == 130
    said = "sk_cpep: interrupted; the same command resumes it\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    "options, n_lines", [([], 0), (["--log", "warning"], 1), (["--log", "info"], 2)]
)
def test_log(monkeypatch, capsys, options, n_lines):
    def pack_emg2pose(*args, **options):
        logging.getLogger("sk_cpep.datasets").info("event")
        logging.getLogger("sk_cpep.datasets").warning("event")
        logging.getLogger("another").info("event")
        raise ValueError("the end")

    monkeypatch.setattr(datasets, "pack_emg2pose", pack_emg2pose)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    monkeypatch.setattr(logging.getLogger("sk_cpep"), "level", logging.NOTSET)
    assert main([*options, "pack", "root", "out"]) == 2
    *logged, end = capsys.readouterr().err.splitlines()
    assert end == "sk_cpep: the end"
    assert len(logged) == n_lines
    assert all(line.endswith(" sk_cpep.datasets: event") for line in logged)


def test_nobody_is_told_of_events_by_default(capsys):
    logging.getLogger("sk_cpep").warning("event")
    assert "event" not in capsys.readouterr().err


def test_errors_of_the_program_are_not_hidden(monkeypatch, capsys):
    def fails(*args, **options):
        raise RuntimeError("a defect")

    monkeypatch.setattr(datasets, "pack_emg2pose", fails)
    with pytest.raises(RuntimeError, match="a defect"):
        main(["pack", "root", "out"])


@pytest.mark.parametrize(
    "error, message",
    [
        (MemoryError("9 GiB"), "out of memory: 9 GiB"),
        (RuntimeError("can't allocate memory: 9"), "out of memory: can't allocate"),
        (LaunchError("Process 1 failed."), "Process 1 failed."),
    ],
)
def test_failures_of_the_machine_are_one_line(monkeypatch, capsys, error, message):
    def fails(*args, **options):
        raise error

    monkeypatch.setattr(datasets, "pack_emg2pose", fails)
    assert main(["pack", "root", "out"]) == 2
    assert capsys.readouterr().err.startswith(f"sk_cpep: {message}")
