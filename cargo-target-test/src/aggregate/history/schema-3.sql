CREATE TABLE case_ends (        -- results of cases that their attempts do not show
    case_id INTEGER NOT NULL REFERENCES cases,
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    stress INTEGER NOT NULL,
    verdict TEXT NOT NULL,      -- `skip` by the plan, `not-run`, or `fail` by `flaky-result = "fail"`
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (case_id, run, stress)
) STRICT, WITHOUT ROWID;
CREATE INDEX case_ends_by_run ON case_ends (run);
