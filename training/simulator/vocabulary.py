"""The words of the simulated shop: topics with things, materials and uses; styles; and how quality is spoken of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A department: its ``name`` is the category; ``price`` is a usual price."""

    name: str
    nouns: tuple[str, ...]
    materials: tuple[str, ...]
    uses: tuple[str, ...]
    brands: tuple[str, ...]
    price: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """A look that some people like and others do not, in every department."""

    name: str
    adjectives: tuple[str, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tone:
    """How the text speaks of one level of quality."""

    title_words: tuple[str, ...]
    sentences: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _topic(name: str, price: float, *, nouns: str, materials: str, uses: str, brands: str) -> Topic:
    return Topic(
        name=name,
        price=price,
        nouns=_words(nouns),
        materials=_words(materials),
        uses=_words(uses),
        brands=_words(brands),
    )


TOPICS = (
    _topic(
        "Kitchen",
        35,
        nouns="Saucepan, Chef Knife, Mixing Bowl, Kettle, Cutting Board, Espresso Pot, Rolling Pin, Skillet",
        materials="Stainless Steel, Cast Iron, Beech Wood, Copper, Borosilicate Glass, Enamel",
        uses="Slow Cooking, Baking Bread, Family Dinners, Making Coffee, Chopping Herbs, Weeknight Meals",
        brands="Ambrel, Copperlane, Tavola Nord, Kettle & Co",
    ),
    _topic(
        "Garden",
        28,
        nouns="Pruning Shears, Watering Can, Plant Pot, Hand Trowel, Garden Hose, Bird Feeder, Raised Bed, Seed Tray",
        materials="Galvanised Steel, Terracotta, Bamboo, Ash Wood, Recycled Plastic, Slate",
        uses="Growing Tomatoes, Small Balconies, Rose Beds, Herb Gardens, Autumn Planting, Composting",
        brands="Greenhollow, Spade & Seed, Larkfield, Mossgate",
    ),
    _topic(
        "Outdoor",
        85,
        nouns="Backpack, Two-Person Tent, Sleeping Bag, Camping Stove, Head Torch, Hiking Pole, Hammock, Water Bottle",
        materials="Ripstop Nylon, Waxed Canvas, Titanium, Aluminium, Merino Wool, Down",
        uses="Weekend Hiking, Alpine Routes, Rainy Trails, Bike Touring, Wild Camping, Long Descents",
        brands="Fjellmark, Ridgeway, Northtrail, Basecamp Nine",
    ),
    _topic(
        "Music",
        140,
        nouns="Ukulele, Keyboard Stand, Acoustic Guitar, Drum Sticks, Violin Bow, Metronome, Microphone, Harmonica",
        materials="Spruce, Rosewood, Maple, Brass, Mahogany, Carbon Fibre",
        uses="First Lessons, Stage Performances, Home Recording, Jazz Practice, Street Music, Orchestra Rehearsals",
        brands="Cantabile, Lowstring, Harper & Vale, Octavia",
    ),
    _topic(
        "Office",
        60,
        nouns="Desk Lamp, Notebook, Standing Desk, Fountain Pen, Monitor Arm, Filing Box, Desk Chair, Paper Tray",
        materials="Walnut, Powder-Coated Steel, Recycled Paper, Felt, Aluminium, Vegan Leather",
        uses="Home Working, Long Writing Days, Tidy Cables, Shared Desks, Sketching Ideas, Video Calls",
        brands="Deskwright, Inkline, Studio Ferro, Papermill",
    ),
    _topic(
        "Toys",
        22,
        nouns="Building Blocks, Jigsaw Puzzle, Wooden Train, Board Game, Plush Bear, Kite, Marble Run, Doll House",
        materials="Beech Wood, Organic Cotton, Cardboard, Bamboo, Soft Felt, Cork",
        uses="Rainy Afternoons, Curious Toddlers, Game Nights, Birthday Parties, Quiet Play, Learning to Count",
        brands="Pebblebear, Tumbleworks, Little Quarry, Kitewind",
    ),
    _topic(
        "Fitness",
        48,
        nouns="Yoga Mat, Kettlebell, Resistance Band, Jump Rope, Foam Roller, Running Belt, Dumbbell, Balance Board",
        materials="Natural Rubber, Cast Iron, Cork, Neoprene, Latex, Recycled Foam",
        uses="Morning Stretching, Strength Training, Marathon Preparation, Sore Muscles, Hotel Workouts, Core Training",
        brands="Pulseform, Ironleaf, Stridewell, Flexa",
    ),
    _topic(
        "Lighting",
        70,
        nouns="Pendant Lamp, Floor Lamp, Table Lamp, String Lights, Wall Sconce, Reading Light, Lantern, Lamp Shade",
        materials="Opal Glass, Rattan, Brass, Linen, Concrete, Rice Paper",
        uses="Reading Corners, Dining Tables, Dim Hallways, Terrace Evenings, Bedside Tables, High Ceilings",
        brands="Lumenhaus, Wick & Wire, Halo North, Paperglow",
    ),
    _topic(
        "Bath",
        26,
        nouns="Bath Towel, Soap Dish, Shower Caddy, Bath Mat, Shaving Brush, Laundry Basket, Robe, Hand Soap",
        materials="Turkish Cotton, Teak, Ceramic, Linen, Olive Oil, Bamboo",
        uses="Slow Mornings, Guest Bathrooms, Sensitive Skin, Small Showers, Spa Evenings, Travel Kits",
        brands="Saltwater House, Lathermoor, Calmwell, Tidefold",
    ),
    _topic(
        "Workshop",
        75,
        nouns="Cordless Drill, Chisel Set, Socket Wrench, Work Bench, Claw Hammer, Spirit Level, Hand Saw, Tool Box",
        materials="Chrome Vanadium, Forged Steel, Hickory, Hardened Steel, Rubberised Plastic, Ash Wood",
        uses="Furniture Repairs, Fine Joinery, Bicycle Maintenance, New Homes, Metalwork, Weekend Projects",
        brands="Holtz & Sons, Gripwell, Ironbench, Truecut",
    ),
    _topic(
        "Pets",
        30,
        nouns="Dog Bed, Cat Tree, Leash, Food Bowl, Scratching Post, Bird Cage, Aquarium Filter, Grooming Brush",
        materials="Memory Foam, Sisal, Ceramic, Hemp, Stainless Steel, Cork",
        uses="Large Dogs, Indoor Cats, Puppy Training, Muddy Walks, Shy Rescues, Senior Pets",
        brands="Wagmore, Purrville, Hound & Hearth, Tailwind",
    ),
    _topic(
        "Travel",
        95,
        nouns="Suitcase, Toiletry Bag, Travel Pillow, Packing Cube, Passport Wallet, Duffel Bag, Rain Jacket, Sun Hat",
        materials="Polycarbonate, Full-Grain Leather, Ripstop Nylon, Canvas, Merino Wool, Recycled Polyester",
        uses="Night Trains, Business Trips, Cabin Luggage, Island Hopping, City Breaks, Family Holidays",
        brands="Voyageur, Gate Twelve, Longitude, Farhaven",
    ),
)

STYLES = (
    Style(
        name="rugged",
        adjectives=("Rugged", "Heavy-Duty", "Tough", "Weatherproof"),
        sentences=("Built to be dropped, soaked and used again.", "Reinforced where others wear out."),
    ),
    Style(
        name="minimal",
        adjectives=("Minimalist", "Slim", "Plain", "Understated"),
        sentences=("Clean lines and nothing that is not needed.", "A quiet shape that disappears into any room."),
    ),
    Style(
        name="playful",
        adjectives=("Colourful", "Playful", "Bright", "Cheerful"),
        sentences=("Comes in happy colours that make people smile.", "A patterned finish full of jokes and dots."),
    ),
    Style(
        name="vintage",
        adjectives=("Vintage", "Retro", "Old-School", "Antique-Style"),
        sentences=("Looks as if found in a grandparent's attic.", "Drawn after a design of the nineteen-fifties."),
    ),
    Style(
        name="smart",
        adjectives=("Smart", "Connected", "App-Controlled", "Digital"),
        sentences=("Pairs with your phone in seconds.", "Sensors remember how you like it."),
    ),
    Style(
        name="ecological",
        adjectives=("Eco-Friendly", "Sustainable", "Plastic-Free", "Low-Waste"),
        sentences=("Climate-neutral from workshop to doorstep.", "Every part can be repaired or composted."),
    ),
    Style(
        name="luxurious",
        adjectives=("Luxury", "Elegant", "Gilded", "Opulent"),
        sentences=("Presented in a satin-lined gift box.", "A small indulgence with a golden rim."),
    ),
    Style(
        name="compact",
        adjectives=("Compact", "Folding", "Pocket-Size", "Space-Saving"),
        sentences=("Folds flat and weighs next to nothing.", "Takes up less room than a paperback."),
    ),
)

# From the worst to the best.
TONES = (
    Tone(
        title_words=("Bargain", "Clearance"),
        sentences=(
            "Seams and colours may vary; sold without guarantee.",
            "A cheap stopgap until you find something better.",
            "Returned stock, parts may be missing.",
        ),
    ),
    Tone(
        title_words=("Basic", "Budget"),
        sentences=(
            "Does the job for occasional use.",
            "Thin in places, but the price is low.",
            "Simple packaging, simple finish.",
        ),
    ),
    Tone(
        title_words=("Classic", "Everyday"),
        sentences=(
            "A solid choice for most households.",
            "Comes with a one-year guarantee.",
            "Reliable and easy to clean.",
        ),
    ),
    Tone(
        title_words=("Premium", "Professional"),
        sentences=(
            "Carefully finished, with a five-year guarantee.",
            "Professionals come back to this one.",
            "Noticeably better made than most.",
        ),
    ),
    Tone(
        title_words=("Award-Winning", "Masterpiece"),
        sentences=(
            "Winner of three design awards and guaranteed for life.",
            "Handmade by masters and loved by everyone who owns one.",
            "Flawless in every detail, the best we have ever tested.",
        ),
    ),
)
