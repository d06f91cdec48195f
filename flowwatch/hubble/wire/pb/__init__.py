"""Generated from proto/ by flowwatch.hubble.wire.generate; do not edit."""
