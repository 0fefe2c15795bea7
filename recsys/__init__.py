"""The domain of a text-aware ranking service: features, text scoring, ranking, bundles. No torch, no gRPC."""
