"""One run of a campaign, stage by stage."""
