"""The gRPC face of the server. Nothing outside of this package knows grpc (errors carry their status by name)."""
