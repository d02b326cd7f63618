"""Device mesh, and which axis of it each parameter and activation is split over."""
