python -m benchmarks.ops_compile
