"""Generated from proto/recsys/v1/ranking.proto; `make proto` regenerates."""
