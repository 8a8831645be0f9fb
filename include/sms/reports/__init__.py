"""The gateway's reports, each loaded once: delivery reports, STOPs and replies."""
