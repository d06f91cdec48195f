"""Generated from proto/ by flowwatch.hubble.generate; do not edit."""
