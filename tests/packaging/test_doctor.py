"""`vkdnw doctor`: the build, the running versions, and the remedy of every mismatch."""

import json
import os
from dataclasses import replace

import pytest
import torch

from vkdnw.ops import doctor, library


def test_a_sound_install_has_no_problem_and_is_fit_for_json():
    report = json.loads(json.dumps(doctor.report()))
    assert report["problems"] == []
    assert report["library"]["loads"]
    assert report["running"]["torch"] == torch.__version__
    assert report["built"]["torch_target"] == "2.11"


def test_the_text_says_what_the_report_says():
    report = doctor.report()
    text = doctor.render(report)
    for fact in (
        report["version"],
        report["built"]["compiler"],
        report["built"]["cxx_flags"],
        report["built"]["torch_version"],
        report["built"]["cuda_reason"],
        report["running"]["python"],
        report["running"]["cpu"],
        report["library"]["path"],
    ):
        assert fact in text
    assert text.endswith("No problems.")


def test_a_missing_library_is_a_problem_with_its_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "vkdnw" / "_ops.so")
    report = doctor.report()
    assert not report["library"]["loads"]
    [problem] = report["problems"]
    assert "does not exist" in problem
    assert "pip install" in problem
    assert f"problem: {problem}" in doctor.render(report)


def test_what_computes_is_said(monkeypatch, tmp_path):
    assert doctor.report()["library"]["computes"] == "native"
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "_ops.so")
    report = doctor.report()
    assert report["library"]["computes"] == "plain"
    assert "plain torch operations compute: exact, but slower" in doctor.render(report)
    monkeypatch.setenv("VKDNW_REQUIRE_NATIVE", "1")
    assert "nothing computes until" in doctor.render(doctor.report())


def test_plain_operations_that_were_chosen_are_no_problem(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "_ops.so")
    monkeypatch.setenv("VKDNW_PLAIN", "1")
    report = doctor.report()
    assert report["problems"] == []
    assert report["library"]["computes"] == "plain"
    assert "VKDNW_PLAIN=1 asks for plain torch operations" in report["notes"]


def test_facts_that_cannot_be_read_leave_a_report(monkeypatch, tmp_path):
    def unreadable():
        raise library.NativeLibraryError("built for another Python")

    monkeypatch.setattr(library, "LIBRARY", tmp_path / "_ops.so")
    library.LIBRARY.touch()
    monkeypatch.setattr(library, "read_facts", unreadable)
    report = doctor.report()
    assert report["built"] is None
    assert report["problems"] == ["built for another Python"]
    assert "nothing is known of it" in doctor.render(report)


def test_a_library_of_another_version_is_a_problem(monkeypatch):
    facts = replace(library.read_facts(), version="0.0.1")
    monkeypatch.setattr(library, "read_facts", lambda: facts)
    [problem] = doctor.report()["problems"]
    assert "the compiled library is 0.0.1" in problem
    assert "pip install" in problem


@pytest.mark.parametrize(
    ("running", "said"),
    [(None, "this torch is a CPU build"), ("12.6", "CUDA 13.0 and torch is for CUDA 12.6")],
)
def test_cuda_kernels_that_this_torch_cannot_use_are_noted(monkeypatch, running, said):
    facts = replace(library.read_facts(), cuda_compiler="13.0")
    monkeypatch.setattr(library, "read_facts", lambda: facts)
    monkeypatch.setattr(torch.version, "cuda", running)
    assert any(said in note for note in doctor.report()["notes"])


def test_cuda_kernels_of_torchs_major_version_are_not_noted(monkeypatch):
    facts = replace(library.read_facts(), cuda_compiler="13.0")
    monkeypatch.setattr(library, "read_facts", lambda: facts)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    assert not any("CUDA" in note for note in doctor.report()["notes"])


def test_sources_newer_than_the_library_are_noted(monkeypatch, tmp_path):
    built = tmp_path / "vkdnw" / "_ops.so"
    kernel, unit_test = tmp_path / "csrc" / "kernel.h", tmp_path / "csrc" / "tests" / "t.cpp"
    for file in (built, kernel, unit_test):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.setattr(library, "LIBRARY", built)
    for file, time in ((built, 1000), (kernel, 900), (unit_test, 1100)):
        os.utime(file, (time, time))
    assert list(doctor._stale_notes()) == []
    os.utime(kernel, (1001, 1001))
    [note] = doctor._stale_notes()
    assert "csrc has changed since the library was built (kernel.h)" in note
