"""Who starts when. Knows: plans of load, search. Does not know: how sessions run."""
