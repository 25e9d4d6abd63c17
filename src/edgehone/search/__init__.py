"""Exploration: rules, plan, ladder, searchers, workers, proof."""
