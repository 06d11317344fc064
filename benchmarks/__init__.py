"""What Threadmill costs, measured against what else one could take: `make bench`, `benchmarks/README.md`."""
