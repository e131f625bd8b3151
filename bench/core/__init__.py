"""What every bench subject uses: workload, ground truth, ranking, metrics, measured processes."""
