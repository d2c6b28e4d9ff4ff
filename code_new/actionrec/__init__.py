"""Action recognition from video: annotation, clip, frames, views, batch, model, loss, metrics.

Importable without SlowFast. The stages are the sub-packages; `docs/pipeline.md` walks through them.
"""
