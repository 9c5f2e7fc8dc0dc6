"""Processes that train together against one that trains alone."""

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from joblib.externals.loky.backend.process import LokyProcess
from numpy.testing import assert_allclose, assert_array_equal

from sk_cpep import MAE
from sk_cpep.training import SingleProcess, resolve_processes
from sk_cpep.training._distributed import communication_device, differences
from sk_cpep.training._launch import is_launched, own_device

SCRIPT = Path(__file__).with_name("distributed_jobs.py")
SPEC = importlib.util.spec_from_file_location("distributed_jobs", SCRIPT)
jobs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(jobs)

needs_gloo = pytest.mark.skipif(
    not hasattr(os, "fork") or not torch.distributed.is_gloo_available(),
    reason="processes are forked and talk by gloo; test_losses.py has the maths of a "
    "shared batch in one process",
)


@pytest.fixture(scope="module", params=[2, 4], ids="{} processes".format)
def results(request, tmp_path_factory):
    """What every job came to in each of the processes."""
    folder = tmp_path_factory.mktemp("processes")
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, SCRIPT, str(request.param), folder],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    files = [folder / f"{rank}.pickle" for rank in range(request.param)]
    assert all(file.exists() for file in files), done.stderr
    everyone = [pickle.loads(file.read_bytes()) for file in files]
    last = list(everyone[0])[-1]
    assert last == list(jobs.JOBS)[-1], everyone[0][last]
    return {name: [one[name] for one in everyone] for name in everyone[0]}


def assert_same(fits):
    """All processes end with the same bits."""
    for fit in fits[1:]:
        assert_array_equal(fit["losses"], fits[0]["losses"])
        for name, weight in fits[0]["weights"].items():
            assert_array_equal(fit["weights"][name], weight, err_msg=name)


def assert_equals(fit, alone):
    """A fit equals that of one process to 1e-5.

    But for the biases of attention keys, which change nothing: what is added to all
    keys alike is lost in the softmax. Their gradient is rounding, and Adam makes whole
    steps of it.
    """
    assert_allclose(fit["losses"], alone["losses"], rtol=0, atol=1e-5)
    for name, weight in alone["weights"].items():
        ours = fit["weights"][name]
        if name.endswith("qkv.bias"):
            ours, weight = (
                np.delete(w.reshape(3, -1), 1, axis=0) for w in (ours, weight)
            )
        assert_allclose(ours, weight, rtol=0, atol=1e-5, err_msg=name)


@needs_gloo
@pytest.mark.parametrize("name", jobs.ALIGNMENTS)
def test_alignment_equals_one_process(results, name):
    alone = jobs.alone(f"align {name}")
    assert_same(results[f"align {name}"])
    assert_equals(results[f"align {name}"][0], alone)
    assert len(alone["losses"]) == 3
    if name != "plain":  # the case is one
        plain = jobs.alone("align plain")
        assert abs(alone["losses"][:, 0] - plain["losses"][:, 0]).max() > 1e-3


@needs_gloo
def test_everyone_begins_with_the_weights_of_the_first(results):
    fits = results["align from different weights"]
    assert_same(fits)
    assert_equals(fits[0], jobs.alone("align plain"))


@needs_gloo
def test_reconstruction_equals_one_process_with_the_same_masks(results):
    fits = results["rebuild"]
    assert_same(fits)
    steps = list(zip(*[fit["draws"] for fit in fits], strict=True))
    sizes = sorted(sum(len(share[0]) for share in step) for step in steps)
    assert sizes == [5] * 3 + [8] * 6
    whole = [[np.concatenate(parts) for parts in zip(*step)] for step in steps]
    _, alone = jobs.reconstruct(
        SingleProcess(), lambda network: jobs.GivenDraws(network, whole)
    )
    assert_equals(fits[0], alone)


@needs_gloo
def test_masks_differ_by_process(results):
    hidden = [fit["draws"][0][2] for fit in results["rebuild"]]
    assert all((hidden[0][:2] != other[:2]).any() for other in hidden[1:])
    steps = [fit["draws"][0][2] for fit in results["rebuild"][1:]]
    later = [fit["draws"][3][2] for fit in results["rebuild"][1:]]
    assert all((a[:2] != b[:2]).any() for a, b in zip(steps, later))


@needs_gloo
@pytest.mark.parametrize(
    "name",
    ["cpep_without_pretraining", "own_parts", "pose_regressor", "classifier"],
)
def test_estimators_equal_one_process(results, name):
    assert_same(results[name])
    assert_equals(results[name][0], jobs.alone(name))


@needs_gloo
@pytest.mark.parametrize("name", ["cpep_whole", "batch_norm", "dropout"])
def test_everyone_ends_with_the_same_bits(results, name):
    fits = results[name]
    assert_same(fits)
    assert all(np.isfinite(w).all() for w in fits[0]["weights"].values())
    alone = jobs.alone(name)
    assert_allclose(fits[0]["losses"], alone["losses"], rtol=0.5)
    assert (fits[0]["losses"] != alone["losses"]).any()  # what is drawn differs


@needs_gloo
def test_a_resumed_run_equals_one_that_was_not_interrupted(results):
    for whole, in_parts, n_epochs in results["resumed"]:
        assert n_epochs == 2
        assert_same([whole, in_parts])


@needs_gloo
def test_everyone_embeds_all_that_it_is_given(results):
    embedded = [fit["Z"] for fit in results["cpep_whole"]]
    assert embedded[0].shape == (jobs.N_WINDOWS, 8)
    assert all(np.array_equal(Z, embedded[0]) for Z in embedded)


@needs_gloo
def test_without_a_seed_the_first_process_draws_for_all(results):
    fits, of_numpy, of_given = zip(*results["unseeded"])
    for fit in zip(*fits):
        assert_same(fit)
    others = [np.random.RandomState(rank) for rank in range(1, len(fits))]
    assert list(of_numpy[1:]) == [other.normal() for other in others]
    assert len(set(of_given)) == 1


@needs_gloo
def test_one_process_draws_progress(results):
    assert "CPEP alignment: 100%" in results["progress"][0]
    assert not any(results["progress"][1:])


@needs_gloo
def test_a_stop_in_one_process_stops_all(results):
    assert_same(results["stop_in_one"])
    assert len(results["stop_in_one"][0]["losses"]) == 2


@needs_gloo
def test_a_callback_of_one_process_is_that_of_the_fit(results):
    fits, n_epochs, identities = zip(*results["callback_of_one"])
    assert_same(fits)
    assert set(n_epochs) == {2}
    assert len({identity.digest for identity in identities}) == 1


@needs_gloo
def test_a_failure_after_an_epoch_ends_all(results):
    said = results["failure_in_one"]
    assert said.pop(1) == "OSError: No space left on device"
    assert all("process 1: OSError: No space left on device" in s for s in said)
    assert all(s.startswith("LaunchError: Process") for s in said)


@needs_gloo
@pytest.mark.parametrize(
    "job, expected",
    [
        ("other_parameters", "in MAE.fit, lr is 0.001 in process 0, 0.002 in process"),
        ("other_seed", "in CPEP.fit, random_state is 0 in process 0, 1 in process 1"),
        ("other_data", "X is of shape (21, 3, 16), digest"),
        ("own_part_of_the_data", "X is of shape (21, 3, 16), digest"),
        ("other_start", "emg_encoder_weights is "),
        ("other_estimator", "the task is CPEP.fit in process 0, MAE.fit in process 1"),
    ],
)
def test_different_fits_are_refused_in_all_processes(results, job, expected):
    for said in results[job]:
        assert said.startswith("ValueError: The")
        assert expected in said


@needs_gloo
def test_a_batch_has_a_window_for_each_process(results):
    n = len(results["gradients"])
    assert set(results["too_small_batches"]) == {
        f"ValueError: No batch holds {n} windows: give more windows, more of each "
        "group, or a larger batch_size."
    }


@needs_gloo
def test_global_generators_are_left_alone(results):
    assert all(results["global_generators"])


@needs_gloo
def test_gradients_are_averaged_by_windows(results):
    n = len(results["gradients"])
    # d/dw of the mean of w x over x = 0, ..., 2 n is n.
    assert results["gradients"] == [(n, None)] * n


@needs_gloo
def test_the_others_are_told_when_a_process_dies(results):
    assert results["died"][-1] == "OSError: Input/output error"
    assert all("was left alone" in said for said in results["died"][:-1])


def test_a_single_process_has_nothing_to_share():
    processes = resolve_processes(torch.device("cpu"))
    assert (processes.rank, processes.size, processes.is_main) == (0, 1, True)
    assert processes.shard == (0, 1)
    assert processes.own_seed(3, 4) == 3
    assert processes.whole_batch(8) is None
    assert processes.gather("x") == ["x"]
    rng = np.random.RandomState(0)
    assert processes.same_generator(rng) is rng
    processes.check_same("nothing", {"lr": 1})
    with pytest.raises(KeyError), processes.together():
        raise KeyError


def launched(monkeypatch):
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)


def test_launched_without_accelerate(monkeypatch):
    launched(monkeypatch)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r"pip install 'sk_cpep\[distributed\]'"):
        MAE(device="cpu").fit(np.zeros((2, 1, 100)))


def test_a_device_that_processes_cannot_share(monkeypatch):
    launched(monkeypatch)
    with pytest.raises(ValueError, match="device='mps': give device='cpu'"):
        resolve_processes(torch.device("mps"))


@pytest.mark.parametrize(
    "config, device, expected",
    [
        ("cpu:gloo,cuda:gloo", "cpu", "cpu"),
        ("cpu:gloo,cuda:gloo", "cuda:1", "cpu"),
        ("cpu:gloo,cuda:nccl", "cuda:1", "cuda:1"),
        ("cpu:gloo,cuda:nccl", "cpu", "cpu"),
        ("cuda:nccl", "cuda:1", "cuda:1"),
        ("cuda:nccl", "cpu", "cuda:3"),
    ],
)
def test_where_tensors_are_passed_on(monkeypatch, config, device, expected):
    monkeypatch.setattr("torch.distributed.get_backend_config", lambda: config)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 3)
    assert communication_device(torch.device(device)) == torch.device(expected)


@pytest.mark.parametrize(
    "device, local_rank, expected",
    [
        ("cuda", "5", "cuda:1"),
        ("cuda", None, "cuda:3"),
        ("cuda:2", "1", "cuda:2"),
        ("cpu", "1", "cpu"),
    ],
)
def test_every_process_has_a_gpu_of_its_own(monkeypatch, device, local_rank, expected):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 3)
    assert own_device(torch.device(device)) == torch.device(expected)


def test_workers_of_a_launched_process_are_on_their_own(monkeypatch):
    launched(monkeypatch)
    assert is_launched()
    worker = LokyProcess.__new__(LokyProcess)  # its environment is its parent's
    monkeypatch.setattr("multiprocessing.current_process", lambda: worker)
    assert not is_launched()


def test_differences_in_words():
    facts = [{"lr": 1, "n": 2}, {"lr": 1, "n": 3}, {"lr": 1}, {"lr": 1, "n": 2}]
    assert differences(facts) == [
        "n is 2 in process 0, 3, 3 in process 1, None in process 2"
    ]
