"""The report of the benchmark suite, from results as pytest-benchmark writes them."""

from bench.performance import render

MIB = 2**20


def item(group, name, median, **info):
    return {"group": group, "name": name, "stats": {"median": median, "total": 1.0}, "extra_info": info}


RESULTS = {
    "benchmarks": [
        item("operator", "512", 0.002, others={"grid_sample": 0.06}, rounds=20, backend="compiled"),
        item(
            "model",
            "eager",
            1.0,
            others={"transformers": 1.75},
            rounds=20,
            backend="compiled",
            memory={"ours": 200 * MIB, "transformers": None},
            parts={"backbone": 0.4},
            floor={"multiply_adds": 75e9, "rate": 100e9},
        ),
    ]
}


def test_report():
    lines = render(RESULTS, {"device": "CPU"}).splitlines()
    assert "| case | ours | grid_sample | rounds | backend |" in lines
    assert "| 512 | 2.00 | 60.00 (30.0x) | 20 | compiled |" in lines
    assert "| case | ours | transformers | rounds | backend |" in lines
    assert "| eager | 1000.00 | 1750.00 (1.8x) | 20 | compiled |" in lines
    assert "Peak memory of a call, eager: ours 200 MiB, transformers not measured." in lines
    assert "| `backbone` | 400 |" in lines
    floor = next(line for line in lines if line.startswith("The floor"))
    assert "75.0 G multiply-adds" in floor and "100 G a second" in floor and floor.endswith("take 750 ms.")
    assert "Not run on a GPU: there was none." in lines


def test_a_gpu_is_told_by_its_groups():
    results = {"benchmarks": [item("operator, cuda", "512", 0.1, others={}, rounds=20)]}
    assert "Not run on a GPU: there was none." not in render(results, {})
