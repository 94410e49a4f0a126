"""DetOFA for NNablaNAS: one training run, a Pareto front of CenterNet detectors."""
