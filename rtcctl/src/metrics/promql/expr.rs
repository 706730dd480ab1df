//! The part of PromQL that is evaluated here, made from what the parser understood.
//!
//! Invariant: whatever gets through here can be evaluated; everything else is refused by its name.

use promql_parser::label::Matcher;
use promql_parser::parser::token::{self, TokenType};
use promql_parser::parser::{self, LabelModifier, Offset, VectorMatchCardinality, VectorSelector};

use super::Refusal;
use super::functions::Function;

/// An expression with its selectors apart, so that each is looked up once whatever the number of steps.
#[derive(Debug, Clone)]
pub struct Query {
    pub(super) root: Expr,
    pub(super) selectors: Vec<Selector>,
}

impl Query {
    /// The longest that the expression looks back from an instant, `lookback_ms` being what a plain selector does.
    pub fn looks_back_ms(&self, lookback_ms: i64) -> i64 {
        let reach = |selector: &Selector| selector.offset_ms + selector.range_ms.unwrap_or(lookback_ms);
        self.selectors.iter().map(reach).max().unwrap_or(0)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Selector {
    pub name: Option<String>,
    pub matchers: Vec<Matcher>,
    /// Back in time; negative is ahead.
    pub offset_ms: i64,
    /// How much of the past, for a range selector.
    pub range_ms: Option<i64>,
}

#[derive(Debug, Clone)]
pub(super) enum Expr {
    Number(f64),
    Text(String),
    /// The place of its selector.
    Select(usize),
    Negate(Box<Expr>),
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call(Function, Vec<Expr>),
}

#[derive(Debug, Clone)]
pub(super) struct Binary {
    pub operator: Operator,
    pub left: Expr,
    pub right: Expr,
    pub comparison: Comparison,
    pub matching: Matching,
    pub cardinality: Cardinality,
}

/// What a comparison answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// The elements for which it holds.
    Filters,
    /// `bool`: 0 or 1 for each.
    Answers,
}

/// Which labels make two elements a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Matching {
    On(Vec<String>),
    Ignoring(Vec<String>),
}

/// How many elements of either side a pair may be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cardinality {
    OneToOne,
    /// `group_left`, with the labels that are taken from the right.
    ManyToOne(Vec<String>),
    /// `group_right`
    OneToMany(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Unless,
}

impl Operator {
    pub fn compares(self) -> bool {
        use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessOrEqual | Greater | GreaterOrEqual)
    }

    fn of(token: TokenType) -> Result<Self, Refusal> {
        Ok(match token.id() {
            token::T_ADD => Operator::Add,
            token::T_SUB => Operator::Subtract,
            token::T_MUL => Operator::Multiply,
            token::T_DIV => Operator::Divide,
            token::T_MOD => Operator::Modulo,
            token::T_POW => Operator::Power,
            token::T_EQLC => Operator::Equal,
            token::T_NEQ => Operator::NotEqual,
            token::T_LSS => Operator::Less,
            token::T_LTE => Operator::LessOrEqual,
            token::T_GTR => Operator::Greater,
            token::T_GTE => Operator::GreaterOrEqual,
            token::T_LAND => Operator::And,
            token::T_LOR => Operator::Or,
            token::T_LUNLESS => Operator::Unless,
            _ => return Err(Refusal::Unsupported(format!("the operator {token}"))),
        })
    }
}

#[derive(Debug, Clone)]
pub(super) struct Aggregate {
    pub aggregation: Aggregation,
    pub of: Expr,
    pub parameter: Option<Expr>,
    pub grouping: Grouping,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Grouping {
    By(Vec<String>),
    Without(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregation {
    Sum,
    Average,
    Min,
    Max,
    Count,
    Group,
    Top,
    Bottom,
    Quantile,
}

impl Aggregation {
    fn of(token: TokenType) -> Result<Self, Refusal> {
        Ok(match token.id() {
            token::T_SUM => Aggregation::Sum,
            token::T_AVG => Aggregation::Average,
            token::T_MIN => Aggregation::Min,
            token::T_MAX => Aggregation::Max,
            token::T_COUNT => Aggregation::Count,
            token::T_GROUP => Aggregation::Group,
            token::T_TOPK => Aggregation::Top,
            token::T_BOTTOMK => Aggregation::Bottom,
            token::T_QUANTILE => Aggregation::Quantile,
            _ => return Err(Refusal::Unsupported(format!("the aggregation {token}"))),
        })
    }
}

/// Parses an expression and makes sure that it can be evaluated here.
pub fn parse(text: &str) -> Result<Query, Refusal> {
    let parsed = parser::parse(text).map_err(|problem| Refusal::Syntax(problem.trim().to_owned()))?;
    let mut selectors = Vec::new();
    let root = convert(parsed, &mut selectors)?;
    Ok(Query { root, selectors })
}

fn convert(parsed: parser::Expr, selectors: &mut Vec<Selector>) -> Result<Expr, Refusal> {
    Ok(match parsed {
        parser::Expr::NumberLiteral(number) => Expr::Number(number.val),
        parser::Expr::StringLiteral(text) => Expr::Text(text.val),
        parser::Expr::Paren(inner) => convert(*inner.expr, selectors)?,
        parser::Expr::Unary(inner) => Expr::Negate(Box::new(convert(*inner.expr, selectors)?)),
        parser::Expr::VectorSelector(selector) => select(selector, None, selectors)?,
        parser::Expr::MatrixSelector(matrix) => select(matrix.vs, Some(millis(matrix.range)), selectors)?,
        parser::Expr::Binary(binary) => Expr::Binary(Box::new(convert_binary(binary, selectors)?)),
        parser::Expr::Aggregate(aggregate) => {
            let labels = |labels: parser::LabelModifier| match labels {
                LabelModifier::Include(labels) => Grouping::By(labels.labels),
                LabelModifier::Exclude(labels) => Grouping::Without(labels.labels),
            };
            Expr::Aggregate(Box::new(Aggregate {
                aggregation: Aggregation::of(aggregate.op)?,
                of: convert(*aggregate.expr, selectors)?,
                parameter: aggregate.param.map(|param| convert(*param, selectors)).transpose()?,
                grouping: aggregate.modifier.map_or(Grouping::By(Vec::new()), labels),
            }))
        }
        parser::Expr::Call(call) => {
            let name = call.func.name;
            let function =
                Function::of(name).ok_or_else(|| Refusal::Unsupported(format!("the function {name}()")))?;
            let args = call.args.args.into_iter().map(|arg| convert(*arg, selectors));
            Expr::Call(function, args.collect::<Result<_, _>>()?)
        }
        parser::Expr::Subquery(_) => {
            return Err(Refusal::Unsupported("a subquery, [range:step]".to_owned()));
        }
        parser::Expr::Extension(_) => {
            return Err(Refusal::Unsupported("an extension of the language".to_owned()));
        }
    })
}

fn millis(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn select(
    selector: VectorSelector,
    range_ms: Option<i64>,
    selectors: &mut Vec<Selector>,
) -> Result<Expr, Refusal> {
    if selector.at.is_some() {
        return Err(Refusal::Unsupported("the modifier @".to_owned()));
    }
    if !selector.matchers.or_matchers.is_empty() {
        return Err(Refusal::Unsupported("or between matchers".to_owned()));
    }
    let offset_ms = match selector.offset {
        None => 0,
        Some(Offset::Pos(time)) => millis(time),
        Some(Offset::Neg(time)) => -millis(time),
    };
    selectors.push(Selector {
        name: selector.name,
        matchers: selector.matchers.matchers,
        offset_ms,
        range_ms,
    });
    Ok(Expr::Select(selectors.len() - 1))
}

fn convert_binary(binary: parser::BinaryExpr, selectors: &mut Vec<Selector>) -> Result<Binary, Refusal> {
    let operator = Operator::of(binary.op)?;
    let mut comparison = Comparison::Filters;
    let mut matching = Matching::Ignoring(Vec::new());
    let mut cardinality = Cardinality::OneToOne;
    if let Some(modifier) = binary.modifier {
        if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
            return Err(Refusal::Unsupported("the modifier fill()".to_owned()));
        }
        if modifier.return_bool {
            comparison = Comparison::Answers;
        }
        matching = match modifier.matching {
            Some(LabelModifier::Include(labels)) => Matching::On(labels.labels),
            Some(LabelModifier::Exclude(labels)) => Matching::Ignoring(labels.labels),
            None => matching,
        };
        cardinality = match modifier.card {
            VectorMatchCardinality::ManyToOne(labels) => Cardinality::ManyToOne(labels.labels),
            VectorMatchCardinality::OneToMany(labels) => Cardinality::OneToMany(labels.labels),
            VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => Cardinality::OneToOne,
        };
    }
    let left = convert(*binary.lhs, selectors)?;
    let right = convert(*binary.rhs, selectors)?;
    Ok(Binary { operator, left, right, comparison, matching, cardinality })
}
