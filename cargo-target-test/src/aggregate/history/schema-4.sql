ALTER TABLE runs ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0; -- 1 if only what later runs may need is left
