"""The slow truth: metrics of one list in plain Python, and their mean over all orders of ties."""

import math
from itertools import groupby, permutations, product


def orders(scores, relevance):
    """Every order of grades that the scores allow, best first."""
    ranked = sorted(range(len(scores)), key=lambda place: -scores[place])
    groups = [list(group) for _, group in groupby(ranked, key=lambda place: scores[place])]
    for parts in product(*(permutations(group) for group in groups)):
        yield [relevance[place] for part in parts for place in part]


def mean_over_orders(metric, scores, relevance):
    values = [metric(order) for order in orders(scores, relevance)]
    return sum(values) / len(values)


def hit(k):
    return lambda order: float(any(grade > 0 for grade in order[:k]))


def precision(k):
    return lambda order: sum(grade > 0 for grade in order[:k]) / k


def recall(k, num_relevant):
    return lambda order: sum(grade > 0 for grade in order[:k]) / num_relevant if num_relevant else 0


def gain_of(name):
    return (lambda grade: grade) if name == "linear" else (lambda grade: 2.0**grade - 1)


def dcg(order, k, gain="linear"):
    of = gain_of(gain)
    return sum(of(grade) / math.log2(place + 2) for place, grade in enumerate(order[:k]))


def ndcg(k, ideal, gain="linear"):
    best = dcg(sorted(ideal, reverse=True), k, gain)
    return lambda order: dcg(order, k, gain) / best if best else 0.0


def average_precision(k, divisor):
    def metric(order):
        hits = [place for place, grade in enumerate(order[:k]) if grade > 0]
        return sum((n + 1) / (place + 1) for n, place in enumerate(hits)) / divisor

    return metric if divisor else lambda order: 0.0


def reciprocal(k):
    def metric(order):
        places = [place for place, grade in enumerate(order[:k]) if grade > 0]
        return 1 / (places[0] + 1) if places else 0.0

    return metric


def reciprocal_places(order):
    places = [place for place, grade in enumerate(order) if grade > 0]
    return sum(1 / (place + 1) for place in places) / len(places) if places else 0.0


def auc(order):
    pairs = [(a, b) for a in range(len(order)) for b in range(len(order))]
    pairs = [(a, b) for a, b in pairs if order[a] > 0 and order[b] == 0]
    return sum(a < b for a, b in pairs) / len(pairs) if pairs else math.nan
