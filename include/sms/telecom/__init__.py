"""Numbers and the alphabet of phones; nothing here knows of campaigns."""
