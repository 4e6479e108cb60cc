from __future__ import annotations

from samescore.parity.facts import (
    MKL,
    NUMPY,
    ONEDNN,
    ONEDNN_CALLS,
    facts_here,
    facts_printed,
    numpy_features,
)

NEW = "onednn_verbose,v1,primitive,exec,cpu,inner_product,x64:gemm:jit,forward,src,attr,,8ic4oc,0.1"
OLD = "onednn_verbose,exec,cpu,matmul,gemm:jit,undef,src,,,8x8:8x8,0.1"
ISA = "onednn_verbose,v1,info,cpu,isa:Intel AVX2"
MKL_HEAD = (
    "MKL_VERBOSE oneMKL 2024.0 Update 2 Product build 20240605 for Intel(R) 64 architecture"
    " Intel(R) Advanced Vector Extensions 2 enabled processors, Lnx 2.60GHz lp64 gnu_thread"
)
MKL_CALL = "MKL_VERBOSE SGEMM(T,N,256,64,64,0x7ffd,0x1,64) 11.87us CNR:OFF Dyn:1 FastMM:1 TID:0"


def test_calls_are_counted_in_the_formats_of_old_and_new_onednn() -> None:
    facts = facts_printed([ISA, NEW, NEW, OLD, "something else"])
    assert facts[ONEDNN] == "Intel AVX2"
    assert facts[ONEDNN_CALLS] == "2 × inner_product x64:gemm:jit, 1 × matmul gemm:jit"


def test_a_library_that_is_not_called_has_no_say() -> None:
    without_calls = facts_printed([ISA, MKL_HEAD])
    assert "no oneDNN primitive" in without_calls[ONEDNN]
    assert "no MKL routine" in without_calls[MKL]
    assert facts_printed([]) == without_calls


def test_mkl_tells_the_instructions_it_uses() -> None:
    assert "Vector Extensions 2" in facts_printed([MKL_HEAD, MKL_CALL])[MKL]


def test_this_process_tells_what_it_can() -> None:
    facts = facts_here()
    assert facts[NUMPY] == (", ".join(numpy_features()) or "its baseline")
    assert facts == facts_here(), "asking twice gives the same answer"
