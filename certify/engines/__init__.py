"""Where the tasks of a run are carried out: in this process, in others beside it, or on other machines."""
