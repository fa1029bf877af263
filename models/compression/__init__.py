"""EI-BERT: a folder per stage, called by `pipeline.compress`, and one per way of using the student.

teacher, pruning, student.py, pretraining, quantization, export: a general encoder. tasks and
recommendation: cross-distillation. elastic: nested sizes. scenarios: adapters on a frozen encoder.
"""
