//! Pages of synthetic runs, as text.
