"""The application: command line, job queue, worker process, pages, API."""
