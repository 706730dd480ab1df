//! What the demo shop sells: goods with Korean and English words, in several categories, priced in won.

use serde_json::{Map, Value, json};

/// One product of the demo shop.
pub(super) struct Good {
    pub sku: &'static str,
    name: &'static str,
    description: &'static str,
    category: &'static str,
    attributes: &'static [(&'static str, &'static str)],
    /// In won, which has no smaller unit.
    price: i64,
}

impl Good {
    /// The body of `POST /products`.
    pub(super) fn document(&self) -> Value {
        let attributes: Map<String, Value> =
            self.attributes.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        json!({
            "sku": self.sku,
            "name": self.name,
            "description": self.description,
            "category": self.category,
            "attributes": attributes,
            "price": {"amount": self.price, "currency": "KRW"},
            "status": "active",
        })
    }
}

const fn good(
    sku: &'static str,
    name: &'static str,
    description: &'static str,
    category: &'static str,
    attributes: &'static [(&'static str, &'static str)],
    price: i64,
) -> Good {
    Good { sku, name, description, category, attributes, price }
}

pub(super) static GOODS: &[Good] = &[
    good(
        "RTC-TEA-001",
        "제주 유기농 녹차 50g",
        "Jeju organic green tea, first harvest. 제주에서 자란 첫물 유기농 녹차.",
        "food",
        &[("origin", "Jeju"), ("weight", "50g")],
        18_000,
    ),
    good(
        "RTC-TEA-002",
        "보성 홍차 티백 20개",
        "Boseong black tea, 20 bags. 보성 찻잎으로 만든 홍차 티백.",
        "food",
        &[("origin", "Boseong"), ("bags", "20")],
        9_800,
    ),
    good(
        "RTC-FOOD-003",
        "전통 참기름 300ml",
        "Cold-pressed sesame oil. 저온 압착 국산 참기름.",
        "food",
        &[("volume", "300ml")],
        21_000,
    ),
    good(
        "RTC-FOOD-004",
        "Handmade Doenjang 1kg",
        "Soybean paste aged for two years. 2년 숙성 재래식 된장.",
        "food",
        &[("weight", "1kg")],
        24_500,
    ),
    good(
        "RTC-FOOD-005",
        "완도 구운 김 10봉",
        "Roasted seaweed from Wando, ten packs. 완도산 구운 김.",
        "food",
        &[("packs", "10")],
        12_900,
    ),
    good(
        "RTC-FOOD-006",
        "Single Origin Coffee Beans 200g",
        "Ethiopia Yirgacheffe, light roast. 에티오피아 예가체프 원두.",
        "food",
        &[("roast", "light"), ("weight", "200g")],
        16_500,
    ),
    good(
        "RTC-BOOK-001",
        "러스트 프로그래밍 입문",
        "A first book on Rust, in Korean. 러스트를 처음 배우는 사람을 위한 책.",
        "books",
        &[("language", "ko"), ("pages", "512")],
        32_000,
    ),
    good(
        "RTC-BOOK-002",
        "Designing Event-Driven Systems",
        "Logs, streams and services in practice. 이벤트 기반 시스템 설계.",
        "books",
        &[("language", "en"), ("pages", "384")],
        45_000,
    ),
    good(
        "RTC-BOOK-003",
        "한국 단편소설 선집",
        "Selected Korean short stories. 근현대 한국 단편소설 모음.",
        "books",
        &[("language", "ko"), ("pages", "420")],
        17_800,
    ),
    good(
        "RTC-BOOK-004",
        "The Night Market Cookbook",
        "Street food recipes from Seoul. 서울 야시장 요리책.",
        "books",
        &[("language", "en"), ("pages", "210")],
        28_000,
    ),
    good(
        "RTC-HOME-001",
        "백자 찻잔 2인 세트",
        "White porcelain tea cups for two. 백자로 빚은 찻잔 한 쌍.",
        "home",
        &[("material", "porcelain"), ("pieces", "2")],
        56_000,
    ),
    good(
        "RTC-HOME-002",
        "Linen Bed Sheet, Queen",
        "Stone-washed linen, breathable. 스톤 워싱 린넨 침대 시트.",
        "home",
        &[("size", "queen"), ("material", "linen")],
        89_000,
    ),
    good(
        "RTC-HOME-003",
        "유기 수저 세트",
        "Hand-forged bronze spoon and chopsticks. 방짜 유기 수저.",
        "home",
        &[("material", "bronze")],
        64_000,
    ),
    good(
        "RTC-HOME-004",
        "Cedar Incense Holder",
        "Carved cedar with a brass dish. 향나무 향꽂이.",
        "home",
        &[("material", "cedar")],
        23_000,
    ),
    good(
        "RTC-HOME-005",
        "접이식 좌식 테이블",
        "Folding floor table in ash wood. 물푸레나무 접이식 좌탁.",
        "home",
        &[("material", "ash"), ("width", "80cm")],
        118_000,
    ),
    good(
        "RTC-TECH-001",
        "Mechanical Keyboard, 87 keys",
        "Hot-swappable, Korean and English legends. 한영 각인 기계식 키보드.",
        "electronics",
        &[("layout", "87"), ("switch", "brown")],
        129_000,
    ),
    good(
        "RTC-TECH-002",
        "노이즈 캔슬링 이어폰",
        "Wireless earphones with noise cancelling. 무선 노이즈 캔슬링 이어폰.",
        "electronics",
        &[("battery", "30h")],
        159_000,
    ),
    good(
        "RTC-TECH-003",
        "USB-C Hub, 7 ports",
        "HDMI, ethernet and card reader. 7포트 USB-C 허브.",
        "electronics",
        &[("ports", "7")],
        47_000,
    ),
    good(
        "RTC-TECH-004",
        "휴대용 보조배터리 10000mAh",
        "Pocket power bank with fast charging. 고속 충전 보조배터리.",
        "electronics",
        &[("capacity", "10000mAh")],
        29_900,
    ),
    good(
        "RTC-TECH-005",
        "Desk Lamp with Dimmer",
        "Warm to cold light, memory function. 밝기 조절 책상 조명.",
        "electronics",
        &[("power", "9W")],
        38_000,
    ),
    good(
        "RTC-WEAR-001",
        "생활한복 저고리",
        "Everyday hanbok jacket in cotton. 면으로 지은 생활한복 저고리.",
        "clothing",
        &[("size", "M"), ("material", "cotton")],
        98_000,
    ),
    good(
        "RTC-WEAR-002",
        "Merino Wool Socks, 3 pairs",
        "Soft, warm and quick to dry. 메리노 울 양말 3켤레.",
        "clothing",
        &[("size", "260"), ("pairs", "3")],
        27_000,
    ),
    good(
        "RTC-WEAR-003",
        "우산 겸용 양산",
        "Light parasol that keeps the rain off. 우산 겸용 경량 양산.",
        "clothing",
        &[("weight", "180g")],
        34_000,
    ),
    good(
        "RTC-WEAR-004",
        "Canvas Tote Bag",
        "Heavy canvas, inner pocket. 두꺼운 캔버스 에코백.",
        "clothing",
        &[("material", "canvas")],
        19_000,
    ),
    good(
        "RTC-BEAU-001",
        "쌀겨 세안 비누",
        "Rice bran soap, unscented. 무향 쌀겨 비누.",
        "beauty",
        &[("weight", "100g")],
        7_500,
    ),
    good(
        "RTC-BEAU-002",
        "Centella Soothing Cream",
        "For sensitive skin, 80 ml. 민감성 피부용 병풀 크림.",
        "beauty",
        &[("volume", "80ml")],
        25_000,
    ),
    good(
        "RTC-PLAY-001",
        "윷놀이 나무 세트",
        "Wooden yut game with a cloth board. 나무 윷과 말판 세트.",
        "toys",
        &[("players", "2-4")],
        22_000,
    ),
    good(
        "RTC-PLAY-002",
        "Wooden Railway Starter Set",
        "Forty pieces of beech. 너도밤나무 기차 놀이 세트.",
        "toys",
        &[("pieces", "40")],
        58_000,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_shop_has_enough_goods_in_both_languages_and_no_sku_twice() {
        let skus: BTreeSet<&str> = GOODS.iter().map(|good| good.sku).collect();
        let categories: BTreeSet<&str> = GOODS.iter().map(|good| good.category).collect();
        let is_korean = |text: &str| text.chars().any(|c| ('가'..='힣').contains(&c));
        assert!(skus.len() == GOODS.len() && GOODS.len() >= 24);
        assert!(categories.len() >= 5);
        assert!(GOODS.iter().filter(|good| is_korean(good.name)).count() >= 12);
        assert!(GOODS.iter().filter(|good| !is_korean(good.name)).count() >= 12);
        assert!(GOODS.iter().all(|good| is_korean(good.description) && good.price > 0));
    }
}
