"""Packets of XMP as programs write them."""

from collections.abc import Sequence

BASIC = 'xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
END = '</x:xmpmeta><?xpacket end="w"?>'


def packet(
    rating: object = None,
    label: str | None = None,
    keywords: Sequence[str] = (),
    elements: bool = False,
    bag: str = "Bag",
) -> bytes:
    """A packet whose simple values are attributes, as of Lightroom, or elements, as of digiKam."""
    simple = {"Rating": rating, "Label": label}
    given = {name: value for name, value in simple.items() if value is not None}
    attributes = "" if elements else " ".join(f'xmp:{name}="{value}"' for name, value in given.items())
    inner = "".join(f"<xmp:{name}>{value}</xmp:{name}>" for name, value in given.items()) if elements else ""
    items = "".join(f"<rdf:li>{word}</rdf:li>" for word in keywords)
    subject = f"<dc:subject><rdf:{bag}>{items}</rdf:{bag}></dc:subject>" if keywords else ""
    namespaces = f'rdf:about="" {BASIC} xmlns:dc="http://purl.org/dc/elements/1.1/"'
    description = f"<rdf:Description {namespaces} {attributes}>{inner}{subject}</rdf:Description>"
    return f"{HEAD}<rdf:RDF {RDF}>{description}</rdf:RDF>{END}".encode()
