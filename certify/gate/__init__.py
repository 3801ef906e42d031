"""The release gate: a policy in TOML, held against the interval ends of a run; never against point estimates."""
