"""Names for the demo's people: Polish first, and neighbours whose letters break careless software. Data only."""

from __future__ import annotations

GIVEN = (
    "Anna Łukasz Zofia Michał Małgorzata Grzegorz Elżbieta Paweł Agnieszka Tomasz Katarzyna Krzysztof Świętosława "
    "Jędrzej Bożena Żaneta Wojciech Stanisław Ćwieczka Ewa Jürgen Zoë Søren Đorđe Renée Siân Ólafur Ngọc İrem Αλέξης"
).split()

FAMILY = (
    "Nowak Wójcik Zając Król Wieczorek Wróbel Michalczyk Śliwa Brzęczyszczykiewicz Kaźmierczak Piątek Łuczak Dąbek "
    "Gołąb Gżegżółka Szewczyk Żak Ćwik Jóźwiak Kędzior Pająk Müller O'Brien Šimić Nguyễn Çelik Ibáñez Weiß Grøn Kowal"
).split()

WITHOUT_LATIN_LETTERS = {"Αλέξης": "alexis"}
"""Logins of names that no Latin letter is left of."""
