"""Reading what people saved: unpacking, splitting into records, filtering as a server would."""
