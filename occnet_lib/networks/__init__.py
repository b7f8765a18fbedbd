"""Networks: encoders, decoders and their files (torch only)."""
