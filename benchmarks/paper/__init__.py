"""The paper's experiments: Figure 2, Table 2 and Figure 3.

``python -m benchmarks.paper --data ROOT`` trains every method and ablation on
emg2pose (or on a corpus of its format, or on Ninapro DB1), and writes a table, a
file of records and pictures.
"""
