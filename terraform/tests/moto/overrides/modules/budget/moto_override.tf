resource "aws_budgets_budget_action" "stop" {
  count = 0
}
