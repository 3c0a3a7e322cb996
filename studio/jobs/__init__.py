"""The queue: jobs are rows, a runner claims them, a worker process does them."""
