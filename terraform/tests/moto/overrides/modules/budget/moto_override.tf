resource "aws_budgets_budget" "this" {
  count = 0
}

resource "aws_budgets_budget_action" "stop" {
  count       = 0
  budget_name = var.name
}

output "name" {
  value = var.name
}
