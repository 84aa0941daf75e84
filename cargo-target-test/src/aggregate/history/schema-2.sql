CREATE INDEX runs_by_start ON runs (repository, started);
CREATE INDEX attempts_by_run ON attempts (run);
CREATE INDEX sub_results_by_run ON sub_results (run);
CREATE INDEX metrics_by_run ON metrics (run);
