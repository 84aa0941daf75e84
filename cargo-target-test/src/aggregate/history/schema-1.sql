-- Times are in microseconds: points in time since 1970, and durations.

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    repository TEXT NOT NULL,
    run TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,              -- NULL while the run goes on, and until it is known to be killed
    exit_code INTEGER,
    interrupted INTEGER,
    tool TEXT NOT NULL,
    workspace TEXT NOT NULL,
    playbook TEXT,
    playbook_hash TEXT,
    revision TEXT,
    dirty INTEGER,
    rustc TEXT,
    host TEXT,
    seed TEXT,
    options TEXT NOT NULL,      -- a JSON list
    UNIQUE (repository, run)
) STRICT;

CREATE TABLE run_targets (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    label TEXT NOT NULL,
    name TEXT NOT NULL,
    platform TEXT NOT NULL,
    count INTEGER NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (run, label)
) STRICT, WITHOUT ROWID;

CREATE TABLE run_binaries (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    binary TEXT NOT NULL,
    path TEXT NOT NULL,
    digest TEXT,
    PRIMARY KEY (run, binary)
) STRICT, WITHOUT ROWID;

CREATE TABLE facts (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    instance TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, instance, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE cases (
    id INTEGER PRIMARY KEY,
    repository TEXT NOT NULL,
    package TEXT NOT NULL,
    binary TEXT NOT NULL,
    name TEXT NOT NULL,         -- with the target in brackets
    test TEXT NOT NULL,
    label TEXT,                 -- of the target; NULL for a test on the host
    seconds REAL,               -- the expected duration
    UNIQUE (repository, package, binary, name)
) STRICT;

CREATE TABLE attempts (
    case_id INTEGER NOT NULL REFERENCES cases,
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    stress INTEGER NOT NULL,    -- -1 outside a stress run
    number INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT,
    expected TEXT,              -- the reason of an expected failure
    ended INTEGER NOT NULL,
    took INTEGER NOT NULL,
    fixtures INTEGER NOT NULL,
    waited INTEGER NOT NULL,
    instances TEXT NOT NULL,    -- separated by commas
    PRIMARY KEY (case_id, run, stress, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE sub_results (
    case_id INTEGER NOT NULL REFERENCES cases,
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    stress INTEGER NOT NULL,
    number INTEGER NOT NULL,
    place INTEGER NOT NULL,     -- in the order of the attempt's results
    path TEXT NOT NULL,         -- joined by `/`
    lane TEXT,
    verdict TEXT NOT NULL,
    message TEXT,
    took INTEGER NOT NULL,
    PRIMARY KEY (case_id, run, stress, number, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE metrics (
    case_id INTEGER NOT NULL REFERENCES cases,
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    stress INTEGER NOT NULL,
    number INTEGER NOT NULL,
    place INTEGER NOT NULL,
    name TEXT NOT NULL,
    value REAL NOT NULL,
    unit TEXT,
    PRIMARY KEY (case_id, run, stress, number, place)
) STRICT, WITHOUT ROWID;
